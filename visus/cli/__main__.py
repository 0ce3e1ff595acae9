from visus.cli.entry import main

main()
