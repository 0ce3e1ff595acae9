"""The sections of the report, one file each; a new file in this folder is a new section."""
