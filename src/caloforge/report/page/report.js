"use strict";
// The report without this script is complete; with it plots are found and enlarged, and tables sorted.
(() => {
  const find = (id) => document.getElementById(id);

  // Tables: a heading becomes a button that sorts by its column.
  const number = (cell) => (cell.dataset.value === undefined ? NaN : parseFloat(cell.dataset.value));
  const sortable = (cell) => number(cell) !== Infinity; // an undefined number, last in either direction

  function compare(a, b, sign) {
    if (!sortable(a) || !sortable(b)) return sortable(b) - sortable(a);
    const [x, y] = [number(a), number(b)];
    const order = isNaN(x) || isNaN(y) ? a.textContent.localeCompare(b.textContent) : x - y;
    return sign * order;
  }

  function sort(heading, table) {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const body = table.tBodies[0];
    const column = heading.cellIndex;
    const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], sign));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[table.tHead.rows.length - 1].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(heading, table));
      heading.append(button);
    }
  }

  // Search: every word must begin a word of the plot, or be inside one if it has three letters; a number
  // must be one. An energy or an angle with its unit also finds the ranges that hold it.
  const [form, words, topic, where] = [document.querySelector("form.find"), find("words"), find("topic"), find("where")];
  if (!form) return; // numbers alone, nothing is drawn
  const QUANTITY = /(\d+(?:\.\d+)?)\s*(gev|°|deg\w*)/g;
  const RANGE = /([\d.]+)(?: (to|±) ([\d.]+))? ?(gev|°)/g;

  const plain = (text) => text.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, ""); // Molière is moliere
  const folds = [...document.querySelectorAll(".fold")];

  const plots = [...document.querySelectorAll("figure")].map((figure) => ({
    figure,
    section: figure.closest("section"),
    topic: figure.closest("section").querySelector("h2").textContent,
    where: figure.dataset.where,
    text: plain(figure.dataset.words),
    tokens: plain(figure.dataset.words).split(/[^\p{L}\p{N}.]+/u),
    ranges: [...figure.dataset.words.matchAll(RANGE)].map(([, a, sign, b, unit]) => {
      const [x, y] = [parseFloat(a), parseFloat(b ?? a)];
      return { low: sign === "±" ? x - y : x, high: sign === "±" ? x + y : y, unit };
    }),
  }));
  let shown = plots;

  // The plots that the page opens with stand below the verdict, those of a search below its field.
  const all = document.querySelector(".plots");
  const opening = [...document.querySelectorAll("section.topic")].filter((section) => !all.contains(section));

  function matcher(query) {
    const quantities = [];
    const rest = plain(query).replace(QUANTITY, (_, value, unit) => {
      quantities.push({ value: parseFloat(value), unit: unit === "gev" ? "gev" : "°" });
      return " ";
    });
    const wanted = rest.split(/[\s,;]+/).filter(Boolean);
    const holds = (plot, { value, unit }) =>
      plot.ranges.some((range) => range.unit === unit && range.low <= value && value <= range.high);
    const has = (plot, word) =>
      /^[\d.]+$/.test(word)
        ? plot.tokens.includes(word)
        : plot.tokens.some((token) => token.startsWith(word)) || (word.length > 2 && plot.text.includes(word));
    return (plot) => quantities.every((q) => holds(plot, q)) && wanted.every((word) => has(plot, word));
  }

  function filter() {
    const matches = matcher(words.value);
    const keep = (plot) =>
      (!topic.value || plot.topic === topic.value) && (!where.value || plot.where === where.value) && matches(plot);
    shown = plots.filter(keep);
    const visible = new Set(shown);
    for (const plot of plots) plot.figure.hidden = !visible.has(plot);
    const counts = new Map(plots.map((plot) => [plot.section, { all: 0, shown: 0 }]));
    for (const plot of plots) {
      counts.get(plot.section).all += 1;
      counts.get(plot.section).shown += visible.has(plot);
    }
    for (const [section, count] of counts) {
      section.hidden = count.shown === 0;
      const mark = document.querySelector(`[data-count="${section.id}"]`);
      mark.textContent = count.shown === count.all ? count.all : `${count.shown} of ${count.all}`;
      mark.parentNode.classList.toggle("empty", count.shown === 0);
    }
    const filtered = shown.length < plots.length;
    if (opening.some((section) => all.contains(section) !== filtered))
      (filtered ? form.nextElementSibling : find("summary")).after(...opening);
    for (const fold of folds) {
      const count = fold.querySelectorAll("figure:not([hidden])").length;
      fold.querySelector(".count").textContent = count;
      fold.hidden = count === 0;
      fold.open = filtered && !fold.hidden; // what was searched for is in sight
    }
    find("shown").textContent = filtered ? `${shown.length} of ${plots.length} plots` : `${plots.length} plots`;
    document.querySelector(".none").hidden = shown.length > 0 || plots.length === 0;
    find("clear").disabled = !words.value && !topic.value && !where.value;
  }

  // The filter stands in the address after the #, so that a filtered view can be linked.
  const fields = { find: words, topic, where };

  function remember() {
    const state = new URLSearchParams();
    for (const [name, field] of Object.entries(fields)) if (field.value) state.set(name, field.value);
    history.replaceState(null, "", `#${state}`);
  }

  function reveal(element) {
    const fold = element.closest("details:not([open])");
    if (fold) fold.open = true;
    return fold;
  }

  function recall() {
    const hash = location.hash.slice(1);
    const place = find(decodeURIComponent(hash));
    if (place && !place.closest("[hidden]")) {
      if (reveal(place)) place.scrollIntoView();
      return; // the browser goes there
    }
    if (!place && !hash.includes("=")) return;
    const state = new URLSearchParams(place ? "" : hash);
    for (const [name, field] of Object.entries(fields)) field.value = state.get(name) ?? "";
    filter();
    if (place) reveal(place);
    (place ?? all).scrollIntoView();
  }

  function clear() {
    for (const field of Object.values(fields)) field.value = "";
    filter();
    remember();
    words.focus();
  }

  for (const field of Object.values(fields)) {
    field.addEventListener("input", () => {
      filter();
      remember();
      all.scrollIntoView(); // the first plot that is left
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  find("clear").addEventListener("click", clear);
  find("clear-too").addEventListener("click", clear);
  addEventListener("hashchange", recall);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    all.scrollIntoView();
    words.focus({ preventScroll: true });
    words.select();
  });

  // Enlarged: one plot at a time, with its neighbours among those shown.
  const viewer = find("viewer");
  let current = 0;

  function show(index) {
    current = index;
    const { figure } = shown[index];
    const small = figure.querySelector("img");
    const large = find("viewer-image");
    for (const name of ["src", "alt", "width", "height"]) large.setAttribute(name, small.getAttribute(name));
    find("viewer-title").textContent = small.alt;
    find("viewer-place").textContent = `${index + 1} of ${shown.length}`;
    const links = [...figure.querySelectorAll("figcaption a")].map((link) => link.cloneNode(true));
    viewer.querySelector(".links").replaceChildren(...links.flatMap((link) => [link, " "]));
    find("previous").disabled = index === 0;
    find("next").disabled = index === shown.length - 1;
  }

  function step(by) {
    if (current + by >= 0 && current + by < shown.length) show(current + by);
  }

  document.querySelector("main").addEventListener("click", (event) => {
    const link = event.target.closest("a.enlarge");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(shown.findIndex((plot) => plot.figure.contains(link)));
    viewer.showModal();
  });
  viewer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
  });
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close(); // outside the picture
  });
  viewer.addEventListener("close", () => {
    reveal(shown[current].figure);
    shown[current].figure.querySelector("a").focus();
  });
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("close").addEventListener("click", () => viewer.close());

  form.hidden = false;
  filter();
  recall();
})();
