"use strict";
// Figure data → rows of a table, for "Data as a table" and for CSV: the drawing's own numbers.
(() => {
  const { tables, square, matricesOf, orderedPairs, armsOf } = window.fixhead;
  const MOST_ROWS = 500;

  tables.curves = (figure, view) => {
    const rows = [];
    figure.arms.forEach((runs, place) => {
      for (const run of runs)
        (run.epochs || run.val_accuracy.map((_, at) => at + 1)).forEach((epoch, at) =>
          rows.push([
            view.arms[place].name, run.seed, epoch, run.val_accuracy[at], run.val_loss[at],
            run.train_accuracy[at], run.train_loss[at],
          ]));
    });
    return {
      columns: ["Head", "Seed", "Epoch", "Validation accuracy", "Validation loss", "Training accuracy", "Training loss"],
      rows,
    };
  };

  tables.matrix = (figure, view) => {
    const cosines = square(figure);
    const rows = [];
    for (let i = 0; i < figure.size; i += 1)
      for (let j = i + 1; j < figure.size; j += 1) rows.push([view.classes[i], view.classes[j], cosines[i][j]]);
    rows.sort((a, b) => b[2] - a[2]);
    return { columns: ["Class", "Other class", "Cosine"], rows };
  };

  tables.matrices = (figure, view) => {
    const all = matricesOf(figure, view);
    const order = (figure.orders || {})[view.options.order] || view.classes.map((_, i) => i);
    const rows = [];
    for (const i of order) for (const j of order) if (i !== j) rows.push([view.classes[i], view.classes[j], ...all.map(({ rows: M }) => M[i][j])]);
    return { columns: ["Class", "Other class", ...all.map(({ title }) => title)], rows };
  };

  tables.confusion = (figure, view) => ({
    columns: ["True class", "Taken for", "Test images", "Cosine of the vectors"],
    rows: orderedPairs(figure, view)
      .sort((a, b) => b.count - a.count || b.cosine - a.cosine)
      .map((one) => [view.classes[one.i], view.classes[one.j], one.count, one.cosine]),
  });

  tables.ridges = (figure, view) => ({
    columns: ["Cosine from", "to", ...figure.arms.map((arm) => view.arms[arm.arm].name)],
    rows: figure.edges.slice(1).map((edge, bin) => [
      figure.edges[bin], edge, ...figure.arms.map((arm) => arm.counts[bin]),
    ]),
    before: figure.arms.map((arm) => {
      const parts = [["mean", arm.mean], ["where right", arm.right], ["where wrong", arm.wrong]];
      const said = parts.filter(([, value]) => value !== null).map(([what, value]) => `${what} ${value}`);
      return `${view.arms[arm.arm].name}: ${said.join(", ")}`;
    }).join("; "),
  });

  tables.classes = (figure, view) => {
    const arms = armsOf(figure, view);
    return {
      columns: ["Class", ...(figure.images ? ["Test images"] : []), ...arms.map((arm) => view.arms[arm.arm].name)],
      rows: view.classes.map((name, place) => [
        name, ...(figure.images ? [figure.images[place]] : []), ...arms.map((arm) => arm.mean[place]),
      ]),
      before: figure.measures ? view.options.measure.replace(/_/g, " ") : undefined,
    };
  };

  function cell(tag, value) {
    const made = document.createElement(tag);
    made.textContent = value === null ? "–" : String(value).replace(/^-/, "−");
    if (typeof value === "number") made.className = "number";
    return made;
  }

  function row(tags, values) {
    const made = document.createElement("tr");
    values.forEach((value, place) => made.append(cell(tags[place] || tags[tags.length - 1], value)));
    return made;
  }

  // Text goes in as text: nothing from a record is read as HTML.
  window.fixhead.fillTable = (holder, title, { columns, rows, before }) => {
    const table = document.createElement("table");
    const caption = document.createElement("caption");
    const cut = rows.length > MOST_ROWS ? ` The first ${MOST_ROWS} of ${rows.length} rows; the CSV has all.` : "";
    caption.textContent = `${title}.${before ? ` ${before}.` : ""}${cut}`;
    const head = document.createElement("thead");
    head.append(row(["th"], columns));
    head.querySelectorAll("th").forEach((th, place) => {
      th.scope = "col";
      if (rows.length && typeof rows[0][place] === "number") th.className = "number";
    });
    const body = document.createElement("tbody");
    for (const values of rows.slice(0, MOST_ROWS)) {
      const made = row(["th", "td"], values);
      made.firstChild.scope = "row";
      body.append(made);
    }
    table.append(caption, head, body);
    holder.replaceChildren(table);
    holder.tabIndex = 0;
    holder.setAttribute("role", "region");
    holder.setAttribute("aria-label", `${title}, data`);
  };

  window.fixhead.csv = ({ columns, rows }) => {
    const quoted = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    return [columns, ...rows].map((values) => values.map(quoted).join(",")).join("\r\n") + "\r\n";
  };
})();
