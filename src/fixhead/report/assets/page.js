"use strict";
// The page's behaviour: themes, drawing when seen, tabs, sorting, tables, saving, copying.
(() => {
  const root = document.documentElement;
  const { kinds, tables, fillTable, csv } = window.fixhead || {}; // a page without charts has none
  const content = JSON.parse(document.getElementById("page-data").textContent);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // theme ---------------------------------------------------------------------------------------
  const system = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const theme = () => (printing ? "light" : root.dataset.theme || (system.matches ? "dark" : "light"));
  const button = document.getElementById("theme");

  function nameButton() {
    const other = theme() === "dark" ? "light" : "dark";
    button.textContent = other === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    try { localStorage.setItem("fixhead-theme", root.dataset.theme); } catch (error) { /* not kept, then */ }
    nameButton();
    redrawAll();
  });
  system.addEventListener("change", () => { nameButton(); redrawAll(); });
  nameButton();

  // drawing -------------------------------------------------------------------------------------
  const plots = new Map(all("[data-plot]").map((element) => [element.dataset.plot, {
    element, name: element.dataset.plot, figure: content.figures[element.dataset.plot],
    hidden: new Set(), drawn: false, width: 0, busy: Promise.resolve(),
  }]));

  function options(name) {
    const found = {};
    for (const select of all("[data-control]"))
      if (select.dataset.figure === name) found[select.dataset.control] = select.value;
    return found;
  }

  function view(plot) {
    const box = plot.element.getBoundingClientRect();
    const width = Math.round(box.width) || Math.min(520, document.body.clientWidth - 32); // not shown yet
    return {
      ...content, classes: plot.figure.classes || content.classes, colours: content.theme[theme()], hidden: plot.hidden, options: options(plot.name), width,
      height: Math.round(box.height) || width, narrow: width < 560, touch: matchMedia("(pointer: coarse)").matches,
      font: getComputedStyle(document.body).fontFamily,
    };
  }

  async function render(plot) {
    const made = kinds[plot.figure.kind](plot.figure, view(plot));
    if (made.height) {
      plot.element.style.setProperty("--height", `${made.height}px`);
      made.layout.height = made.height;
    }
    plot.width = made.layout.width;
    await Plotly.react(plot.element, made.data, made.layout, { displayModeBar: false, responsive: false });
    if (!plot.drawn) {
      plot.drawn = true;
      root.dataset.plots = String([...plots.values()].filter((one) => one.drawn).length);
    }
    fit(plot); // the box may have changed its width meanwhile
  }

  // One drawing at a time per figure: a second call waits for the first, even for one that failed.
  function draw(plot) {
    const next = () => render(plot);
    plot.busy = plot.busy.then(next, next);
    return plot.busy;
  }

  function fit(plot) {
    const width = Math.round(plot.element.getBoundingClientRect().width);
    if (plot.drawn && width && width !== plot.width) draw(plot);
  }
  const redrawAll = () => Promise.all([...plots.values()].filter((plot) => plot.drawn).map(draw));
  window.fixheadDrawAll = () => Promise.all([...plots.values()].filter((plot) => !plot.drawn).map(draw));

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      const plot = plots.get(entry.target.dataset.plot);
      if (!plot.drawn) draw(plot);
    }
  }, { rootMargin: "300px 0px" });

  const resized = new ResizeObserver((entries) => {
    for (const entry of entries) fit(plots.get(entry.target.dataset.plot));
  });
  for (const plot of plots.values()) { seen.observe(plot.element); resized.observe(plot.element); }

  // Paper: light colours, its own width, nothing folded away; then all plots at that width.
  let folded = [];
  addEventListener("beforeprint", () => {
    if (printing) return;
    printing = true;
    root.dataset.before = root.dataset.theme || "";
    root.dataset.theme = "light";
    root.classList.add("printing");
    folded = all("details:not(.foot details):not([open])");
    for (const one of folded) one.open = true;
    for (const plot of plots.values()) draw(plot);
  });
  addEventListener("afterprint", () => {
    if (!printing) return;
    printing = false;
    root.classList.remove("printing");
    for (const one of folded) one.open = false;
    if (root.dataset.before) root.dataset.theme = root.dataset.before; else delete root.dataset.theme;
    redrawAll();
  });

  for (const select of all("select[data-control]"))
    select.addEventListener("change", () => draw(plots.get(select.dataset.figure)));

  for (const slider of all("input[data-control]")) {
    const plot = plots.get(slider.dataset.figure);
    const labels = slider.dataset.labels.split(" ");
    const show = () => {
      const words = labels[Number(slider.value)];
      slider.parentElement.querySelector("output").textContent = words;
      slider.setAttribute("aria-valuetext", `${slider.previousElementSibling.textContent} ${words}`);
    };
    let waiting = false; // a drag asks more often than a drawing can follow
    slider.addEventListener("input", () => {
      show();
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(plot); });
    });
    show();
  }

  for (const play of all("[data-play]")) {
    const slider = all("input[data-control]").find((one) => one.dataset.figure === play.dataset.play);
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
    const to = (step) => { slider.value = String(step); slider.dispatchEvent(new Event("input")); };
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (Number(slider.value) >= Number(slider.max)) to(0);
      play.textContent = "Stop";
      timer = setInterval(() => {
        to(Number(slider.value) + 1);
        if (Number(slider.value) >= Number(slider.max)) stop();
      }, Math.max(120, Math.min(600, 6000 / (Number(slider.max) + 1))));
    });
  }

  for (const key of all(".legend button"))
    key.addEventListener("click", () => {
      const { hidden, ...plot } = plots.get(key.dataset.figure);
      const place = Number(key.dataset.arm);
      if (!hidden.delete(place)) hidden.add(place);
      key.setAttribute("aria-pressed", String(!hidden.has(place)));
      draw(plots.get(plot.name));
    });

  // tables of the figures, and files --------------------------------------------------------------
  const tableOf = (name) => {
    const plot = plots.get(name);
    return tables[plot.figure.kind](plot.figure, view(plot));
  };

  for (const holder of all("[data-table]"))
    holder.closest("details").addEventListener("toggle", () => {
      const name = holder.dataset.table;
      if (!holder.firstChild) fillTable(holder, content.figures[name].title, tableOf(name));
    });

  for (const save of all("[data-save]"))
    save.addEventListener("click", async () => {
      const { figure: name, save: format } = save.dataset;
      if (format === "svg") {
        const plot = plots.get(name);
        await (plot.drawn ? plot.busy : draw(plot));
        Plotly.downloadImage(plot.element, { format: "svg", filename: name });
        return;
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(tableOf(name))], { type: "text/csv" }));
      link.download = `${name}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });

  // tabs --------------------------------------------------------------------------------------------
  for (const list of all("[role=tablist]")) {
    const tabs = all("[role=tab]", list);
    const choose = (chosen) => {
      for (const tab of tabs) {
        const is = tab === chosen;
        tab.setAttribute("aria-selected", String(is));
        tab.tabIndex = is ? 0 : -1;
        document.getElementById(tab.getAttribute("aria-controls")).hidden = !is;
      }
    };
    choose(tabs[0]);
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    for (const [place, tab] of tabs.entries()) {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", (event) => {
        let next = place + (moves[event.key] || 0);
        if (event.key === "Home") next = 0;
        else if (event.key === "End") next = tabs.length - 1;
        else if (!(event.key in moves)) return;
        event.preventDefault();
        const to = tabs[(next + tabs.length) % tabs.length];
        choose(to);
        to.focus();
      });
    }
  }

  // sorting and choosing rows ---------------------------------------------------------------------
  for (const table of all("table.records")) {
    const body = table.tBodies[0];
    all("th .sort", table).forEach((sort) => {
      const heading = sort.closest("th");
      sort.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "none"
          ? !heading.classList.contains("name") : heading.getAttribute("aria-sort") === "ascending";
        for (const other of all("[aria-sort]", table)) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[heading.cellIndex].dataset.v;
        const compare = (a, b) => {
          const [left, right] = [key(a), key(b)];
          if (left === "" || right === "") return (left === "") - (right === ""); // unknown stays last
          const order = isNaN(left) || isNaN(right) ? left.localeCompare(right) : left - right;
          return down ? -order : order;
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }

  for (const select of all("[data-filter]")) {
    const rows = [...document.getElementById(select.dataset.filter).tBodies[0].rows];
    const choose = () => {
      for (const row of rows)
        row.hidden = select.value !== "" && !row.dataset.arms.split(" ").includes(select.value);
      const left = rows.filter((row) => !row.hidden).length;
      document.querySelector(`[data-shown=${select.dataset.filter}]`).textContent =
        left < rows.length ? `${left} of ${rows.length} pairs` : "";
    };
    select.addEventListener("change", choose);
    choose();
  }

  for (const select of all("[data-browse]")) {
    const section = document.getElementById(select.dataset.browse);
    const cards = all("[data-classes]", section);
    select.addEventListener("change", () => {
      for (const card of cards)
        card.hidden = select.value !== "" && !card.dataset.classes.split(" ").includes(select.value);
      const panel = all("[role=tabpanel]", section).find((one) => !one.hidden);
      const own = all("[data-classes]", panel);
      const left = own.filter((card) => !card.hidden).length;
      document.querySelector(`[data-shown=${select.dataset.browse}]`).textContent =
        left < own.length ? `${left} of ${own.length} pairs` : "";
    });
  }

  // copying --------------------------------------------------------------------------------------
  for (const copy of all("[data-copy]"))
    copy.addEventListener("click", async () => {
      const source = document.getElementById(copy.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch (error) { // no clipboard for a page opened as a file in some browsers
        getSelection().selectAllChildren(source);
        document.execCommand("copy");
        getSelection().removeAllRanges();
      }
      copy.textContent = "Copied";
      document.getElementById("copied").textContent = "The command was copied.";
      setTimeout(() => { copy.textContent = "Copy"; document.getElementById("copied").textContent = ""; }, 2500);
    });
})();
