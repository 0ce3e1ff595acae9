(function () {
  "use strict";
  var root = document.documentElement;

  // A file opened from disk may be denied storage: the choice then holds for this view only.
  function recall() { try { return localStorage.getItem("visus-theme"); } catch (e) { return null; } }
  function keep(value) { try { localStorage.setItem("visus-theme", value); } catch (e) { /* no storage */ } }
  function dark() {
    var chosen = root.getAttribute("data-theme");
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  var known = recall();
  if (known === "dark" || known === "light") { root.setAttribute("data-theme", known); }
  document.getElementById("theme").addEventListener("click", function () {
    var next = dark() ? "light" : "dark";
    root.setAttribute("data-theme", next);
    keep(next);
  });

  // Tables: a heading with a button sorts by it, and the other way round when pressed again.
  function key(row, index) {
    var cell = row.cells[index], given = cell.getAttribute("data-key");
    var text = given === null ? cell.textContent : given, number = parseFloat(text);
    return isNaN(number) ? text : number;
  }
  function sort(th) {
    var table = th.closest("table"), body = table.tBodies[0];
    var index = Array.prototype.indexOf.call(th.parentNode.children, th);
    var down = th.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    var rows = Array.prototype.slice.call(body.rows).map(function (row) { return [key(row, index), row]; });
    rows.sort(function (a, b) {
      var order = typeof a[0] === "number" && typeof b[0] === "number"
        ? a[0] - b[0] : String(a[0]).localeCompare(String(b[0]), undefined, { numeric: true });
      return down ? -order : order;
    });
    rows.forEach(function (pair) { body.appendChild(pair[1]); });
  }
  document.querySelectorAll("th button").forEach(function (button) {
    button.addEventListener("click", function () { sort(button.parentNode); });
  });

  // The list of sections follows the reader.
  if ("IntersectionObserver" in window) {
    var links = {};
    document.querySelectorAll("nav a").forEach(function (a) { links[a.getAttribute("href").slice(1)] = a; });
    var seen = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting) { return; }
        Object.keys(links).forEach(function (id) { links[id].removeAttribute("aria-current"); });
        links[entry.target.id].setAttribute("aria-current", "true");
      });
    }, { rootMargin: "-10% 0px -80% 0px" });
    document.querySelectorAll("main section").forEach(function (section) { seen.observe(section); });
  }
})();
