"use strict";
// Class vectors: cosine matrices, alone and side by side, and confusion against cosine.
(() => {
  const { kinds, drawing } = window.fixhead;
  const { layout, plain, label, panels, panelTitle, colorbar } = drawing;

  // cosine matrix -----------------------------------------------------------------------------
  const square = (figure) => {
    const { size, upper } = figure;
    const rows = Array.from({ length: size }, () => new Array(size).fill(1));
    let at = 0;
    for (let i = 0; i < size; i += 1)
      for (let j = i + 1; j < size; j += 1) rows[i][j] = rows[j][i] = upper[at++] / 1000;
    return rows;
  };
  window.fixhead.square = square;

  kinds.matrix = (figure, view) => {
    const c = view.colours;
    const rows = square(figure);
    const names = view.classes.map(plain);
    const labelled = figure.size <= (view.narrow ? 16 : 30);
    const most = labelled ? Math.min(12, longest(view)) : 0;
    const turned = most > 3;
    const ticks = labelled
      ? { tickvals: names.map((_, i) => i), ticktext: view.classes.map((name) => label(name, 12)) }
      : { tickvals: [] };
    const side = labelled ? 14 + 7 * most : 2;
    const under = labelled ? (turned ? 16 + 6.2 * most : 26) : 30;
    const inner = view.width - side - 46; // the drawing itself, a square
    const gap = figure.size <= 30 ? 1 : 0;
    return {
      height: inner + under + 12,
      data: [{
        type: "heatmap", z: rows, zmin: -1, zmax: 1, xgap: gap, ygap: gap,
        colorscale: [[0, c.low], [0.5, c.middle], [1, c.high]],
        customdata: rows.map((row, i) => row.map((_, j) => (i === j ? names[i] : `${names[i]}<br>${names[j]}`))),
        hovertemplate: "%{customdata}<br><b>%{z:.3f}</b><extra></extra>",
        text: inner / figure.size > 34 ? rows.map((row) => row.map((z) => z.toFixed(2).replace("-", "−"))) : undefined,
        texttemplate: inner / figure.size > 34 ? "%{text}" : undefined, textfont: { size: 11 },
        colorbar: colorbar(view, { len: 1, lenmode: "fraction" }),
      }],
      layout: layout(view, {
        margin: { l: side, r: 46, t: 12, b: under },
        xaxis: {
          ...ticks, title: labelled ? "" : `${figure.size} classes, in the data set’s order`, automargin: false,
          tickangle: turned ? -60 : 0, ticklabelstandoff: 3, showgrid: false, zeroline: false,
        },
        yaxis: { ...ticks, title: "", automargin: false, ticklabelstandoff: 3, autorange: "reversed", showgrid: false, zeroline: false },
      }),
    };
  };
  const longest = (view) => Math.max(...view.classes.map((name) => String(name).length));

  // all matrices side by side --------------------------------------------------------------------
  // The panels of a comparison are its arms; those of a paper bring their values and their classes.
  const matricesOf = (figure, view) =>
    figure.panels
      ? figure.panels.map(({ title, values }) => ({ title, rows: values }))
      : figure.shown.map(([place, name]) => ({ title: view.arms[place].name, rows: square(view.figures[name]) }));
  window.fixhead.matricesOf = matricesOf;

  kinds.matrices = (figure, view) => {
    const c = view.colours;
    const matrices = matricesOf(figure, view);
    const named = figure.panels && matrices[0].rows.length <= 20; // alone on the page, so named here
    const left = named ? 14 + 6.5 * Math.min(longest(view), 16) : 0;
    const { side, wide, tall, top, places } = panels({ ...view, width: view.width - left }, matrices.map(({ title }) => title), { bar: 46 });
    const annotations = [];
    const axes = {};
    const data = matrices.map(({ title, rows }, at) => {
      const place = places[at];
      const order = (figure.orders || {})[view.options.order] || rows.map((_, i) => i);
      const names = order.map((i) => plain(view.classes[i]));
      const plainAxis = { showgrid: false, zeroline: false, tickvals: [], automargin: false, fixedrange: view.touch };
      axes[`xaxis${place.end}`] = { ...plainAxis, domain: place.x, anchor: `y${place.end}` };
      axes[`yaxis${place.end}`] = { ...plainAxis, domain: place.y, anchor: `x${place.end}`, autorange: "reversed" };
      if (named && place.x[0] === 0)
        Object.assign(axes[`yaxis${place.end}`], { tickvals: names.map((_, i) => i), ticktext: order.map((i) => label(view.classes[i], 16)), ticklabelstandoff: 3 });
      annotations.push(panelTitle(view, place, title, side));
      const gap = rows.length <= 30 ? 1 : 0;
      return {
        type: "heatmap", xaxis: `x${place.end}`, yaxis: `y${place.end}`, zmin: -1, zmax: 1, z: order.map((i) => order.map((j) => rows[i][j])),
        xgap: gap, ygap: gap, colorscale: [[0, c.low], [0.5, c.middle], [1, c.high]], showscale: at === 0,
        customdata: order.map((_, i) => order.map((_, j) => (i === j ? names[i] : `${names[i]}<br>${names[j]}`))),
        hovertemplate: "%{customdata}<br><b>%{z:.3f}</b><extra></extra>",
        colorbar: colorbar(view, { len: side, lenmode: "pixels", y: 1 - top / tall, yanchor: "top" }),
      };
    });
    const { xaxis, yaxis, ...others } = axes;
    return {
      height: Math.ceil(tall) + 8,
      data,
      layout: layout(view, { margin: { l: left, r: view.width - left - wide, t: 0, b: 8 }, annotations, xaxis, yaxis, ...others }),
    };
  };

  // confusion against cosine ------------------------------------------------------------------
  const EVERY_PAIR = 30; // up to so many classes, pairs that were never confused are drawn too
  const MOST_MARKS = 4000;

  function orderedPairs(figure, view) {
    const cosines = square(view.figures[figure.vectors]);
    const found = [];
    figure.rows.forEach((flat, i) => {
      const counts = new Array(figure.rows.length).fill(0);
      for (let at = 0; at < flat.length; at += 2) counts[flat[at]] = flat[at + 1];
      counts.forEach((count, j) => { if (i !== j) found.push({ i, j, count, cosine: cosines[i][j] }); });
    });
    return found;
  }
  window.fixhead.orderedPairs = orderedPairs;

  function meanByCosine(pairs) {
    const sorted = [...pairs].sort((a, b) => a.cosine - b.cosine);
    const groups = Math.min(12, Math.max(1, Math.floor(sorted.length / 15)));
    const line = { x: [], y: [] };
    for (let group = 0; group < groups; group += 1) {
      const part = sorted.slice((group * sorted.length) / groups, ((group + 1) * sorted.length) / groups);
      line.x.push(part.reduce((sum, one) => sum + one.cosine, 0) / part.length);
      line.y.push(part.reduce((sum, one) => sum + one.count, 0) / part.length);
    }
    return line;
  }

  kinds.confusion = (figure, view) => {
    const c = view.colours;
    const color = c.arms[figure.arm % c.arms.length];
    const { symbol } = view.arms[figure.arm];
    const pairs = orderedPairs(figure, view);
    const few = view.classes.length <= EVERY_PAIR;
    const marks = pairs.filter((one) => few || one.count > 0).sort((a, b) => b.count - a.count);
    const drawn = marks.slice(0, MOST_MARKS);
    const notes = [];
    if (!few) notes.push("pairs never confused count in the line only");
    if (drawn.length < marks.length) notes.push(`the ${MOST_MARKS} most confused of ${marks.length} pairs are drawn`);
    const names = view.classes.map(plain);
    return {
      data: [
        {
          x: drawn.map((one) => one.cosine), y: drawn.map((one) => one.count), mode: "markers",
          marker: { color, symbol, size: 8, opacity: drawn.map((one) => (one.count ? 0.65 : 0.22)) },
          customdata: drawn.map((one) => `${names[one.i]}<br>taken for ${names[one.j]}`),
          hovertemplate: "%{customdata}<br><b>%{y}</b> errors, cosine %{x:.3f}<extra></extra>", cliponaxis: false,
        },
        {
          ...meanByCosine(pairs), mode: "lines+markers", line: { color: c.ink, width: 1.6 }, marker: { color: c.ink, size: 4 },
          hovertemplate: "mean %{y:.2f} errors near cosine %{x:.3f}<extra></extra>",
        },
      ],
      layout: layout(view, {
        margin: { l: 8, r: 14, t: 14, b: 8 },
        xaxis: { title: { text: ["cosine of the two class vectors", ...notes].join("<br>") }, zeroline: true, zerolinecolor: c["strong-line"] },
        yaxis: {
          title: "test images of one taken for the other", rangemode: "tozero", zeroline: false,
          dtick: Math.max(0, ...pairs.map((one) => one.count)) <= 6 ? 1 : undefined, tickformat: "d",
        },
      }),
    };
  };

})();
