"use strict";
// Figure data → Plotly traces and layout, one routine per kind. Nothing here touches the page.
window.fixhead = { kinds: {}, tables: {} };

(() => {
  const { kinds } = window.fixhead;

  // Plotly reads a little HTML in its texts; names from records are only ever text.
  const plain = (text) =>
    String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  // The middle goes first: long names often begin alike, or end alike.
  const short = (text, most) => {
    if (text.length <= most) return text;
    const end = Math.floor((most - 1) / 2);
    return `${text.slice(0, most - 1 - end)}…${text.slice(text.length - end)}`;
  };
  const label = (text, most) => plain(short(String(text), most));

  function layout(view, more) {
    const c = view.colours;
    const axis = {
      gridcolor: c.line, zerolinecolor: c.line, linecolor: c["strong-line"], tickcolor: c.line,
      tickfont: { color: c.soft, size: 12 }, title: { font: { color: c.soft, size: 12.5 }, standoff: 8 },
      automargin: true, ticks: "", showline: false,
    };
    const { xaxis, yaxis, ...rest } = more;
    return {
      width: view.width, height: view.height, margin: { l: 8, r: 12, t: 10, b: 8 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: view.font, size: 12, color: c.ink }, hovermode: "closest",
      dragmode: view.touch ? false : "zoom",
      hoverlabel: {
        bgcolor: c.raised, bordercolor: c["strong-line"], align: "left",
        font: { family: view.font, color: c.ink, size: 12.5 }, namelength: -1,
      },
      xaxis: merged(axis, xaxis), yaxis: merged(axis, yaxis), ...rest,
    };
  }

  function merged(axis, own) {
    const title = { ...axis.title, ...(typeof own.title === "string" ? { text: own.title } : own.title) };
    return { ...axis, ...own, title };
  }

  const shown = (view, place) => !view.hidden.has(place);

  // accuracy and loss by epoch ---------------------------------------------------------------
  const measure = (run, name) =>
    name === "val_error"
      ? run.val_accuracy.map((value) => (value === null || value >= 1 ? null : 1 - value))
      : run[name];
  const epochs = (run) => run.epochs || run.val_accuracy.map((_, place) => place + 1);

  function meanByEpoch(runs, name) {
    const sums = new Map();
    for (const run of runs) {
      const values = measure(run, name);
      epochs(run).forEach((epoch, place) => {
        if (values[place] === null) return;
        const [sum, n] = sums.get(epoch) || [0, 0];
        sums.set(epoch, [sum + values[place], n + 1]);
      });
    }
    const kept = [...sums].filter(([, [, n]]) => n === runs.length).sort(([a], [b]) => a - b);
    return { x: kept.map(([epoch]) => epoch), y: kept.map(([, [sum, n]]) => sum / n) };
  }

  kinds.curves = (figure, view) => {
    const name = view.options.measure;
    const fraction = !name.endsWith("loss");
    const data = [];
    let last = 1;
    figure.arms.forEach((runs, place) => {
      const { name: head, dash, symbol } = view.arms[place];
      const color = view.colours.arms[place % view.colours.arms.length];
      for (const run of runs) last = Math.max(last, ...epochs(run));
      if (!shown(view, place)) return;
      for (const run of runs) {
        data.push({
          x: epochs(run), y: measure(run, name), mode: run.val_accuracy.length > 1 ? "lines" : "markers",
          line: { color, width: 1, dash }, marker: { color, size: 5 }, opacity: 0.38, hoverinfo: "skip",
        });
      }
      const done = runs.filter((run) => run.done);
      if (!done.length) return;
      const mean = meanByEpoch(done, name);
      data.push({
        ...mean, name: plain(head), mode: "lines", line: { color, width: 2.6, dash },
        hovertemplate: `%{y:${fraction ? ".2%" : ".4f"}}`,
      });
      const marks = done.map((run) => [run.best, measure(run, name)[epochs(run).indexOf(run.best)]]);
      data.push({
        x: marks.map(([epoch]) => epoch), y: marks.map(([, value]) => value), mode: "markers",
        marker: { color, symbol, size: 9, line: { color: symbol.endsWith("open") ? color : view.colours.ground, width: 1.2 } },
        hoverinfo: "skip", cliponaxis: false,
      });
    });
    const yaxis = { tickformat: fraction ? ".0~%" : "~g", rangemode: fraction ? "normal" : "tozero" };
    if (name === "val_error") {
      const ticks = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
      Object.assign(yaxis, { type: "log", tickvals: ticks, tickformat: "~%", rangemode: "normal" });
    }
    const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((one) => last / one <= (view.narrow ? 6 : 12));
    return {
      data,
      layout: layout(view, {
        hovermode: view.narrow ? "closest" : "x unified",
        xaxis: { title: "epoch", dtick: step || 1000, range: [last > 1 ? 0.6 : 0.5, last + (last > 1 ? last * 0.015 + 0.2 : 0.5)], hoverformat: "d", unifiedhovertitle: { text: "epoch %{x}" }, showgrid: false },
        yaxis,
      }),
    };
  };

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
        colorbar: {
          thickness: 9, outlinewidth: 0, len: 1, lenmode: "fraction", xpad: 8, ypad: 0, tickvals: [-1, -0.5, 0, 0.5, 1],
          ticktext: ["−1", "−0.5", "0", "0.5", "1"], tickfont: { color: c.soft, size: 12 },
        },
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
  kinds.matrices = (figure, view) => {
    const c = view.colours;
    const columns = view.width < 520 ? 1 : Math.min(3, figure.shown.length === 4 ? 2 : figure.shown.length);
    const lines = Math.ceil(figure.shown.length / columns);
    const [gap, top, bar] = [26, 30, 46];
    const side = Math.min(420, (view.width - bar - gap * (columns - 1)) / columns);
    const wide = columns * side + gap * (columns - 1);
    const tall = lines * (side + top);
    const annotations = [];
    const more = {};
    const data = figure.shown.map(([place, name], at) => {
      const rows = square(view.figures[name]);
      const order = figure.orders[view.options.order] || rows.map((_, i) => i);
      const names = order.map((i) => plain(view.classes[i]));
      const [left, line] = [(at % columns) * (side + gap), Math.floor(at / columns)];
      const end = at ? String(at + 1) : "";
      const high = 1 - (line * (side + top) + top) / tall;
      const domain = { x: [left / wide, (left + side) / wide], y: [Math.max(0, high - side / tall), high] };
      const plainAxis = { showgrid: false, zeroline: false, tickvals: [], automargin: false, fixedrange: view.touch };
      more[`xaxis${end}`] = { ...plainAxis, domain: domain.x, anchor: `y${end}` };
      more[`yaxis${end}`] = { ...plainAxis, domain: domain.y, anchor: `x${end}`, autorange: "reversed" };
      annotations.push({
        x: domain.x[0], y: high, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false,
        text: label(view.arms[place].name, Math.floor(side / 8)), font: { size: 13, color: c.ink },
      });
      return {
        type: "heatmap", xaxis: `x${end}`, yaxis: `y${end}`, zmin: -1, zmax: 1, z: order.map((i) => order.map((j) => rows[i][j])),
        xgap: rows.length <= 30 ? 1 : 0, ygap: rows.length <= 30 ? 1 : 0,
        colorscale: [[0, c.low], [0.5, c.middle], [1, c.high]], showscale: at === 0,
        customdata: order.map((_, i) => order.map((_, j) => (i === j ? names[i] : `${names[i]}<br>${names[j]}`))),
        hovertemplate: "%{customdata}<br><b>%{z:.3f}</b><extra></extra>",
        colorbar: {
          thickness: 9, outlinewidth: 0, len: side, lenmode: "pixels", y: 1 - top / tall, yanchor: "top", xpad: 8, ypad: 0, tickvals: [-1, -0.5, 0, 0.5, 1],
          ticktext: ["−1", "−0.5", "0", "0.5", "1"], tickfont: { color: c.soft, size: 12 },
        },
      };
    });
    const { xaxis, yaxis, ...others } = more;
    return {
      height: Math.ceil(tall) + 8,
      data,
      layout: layout(view, { margin: { l: 0, r: view.width - wide, t: 0, b: 8 }, annotations, xaxis, yaxis, ...others }),
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

  // histograms in rows --------------------------------------------------------------------------
  kinds.ridges = (figure, view) => {
    const c = view.colours;
    const { edges, arms } = figure;
    const centres = edges.slice(1).map((edge, place) => (edge + edges[place]) / 2);
    const lowest = Math.min(...arms.map((arm) => edges[arm.counts.findIndex((count) => count > 0)] ?? -1));
    const left = Math.max(-1, Math.floor((lowest - 0.02) * 4) / 4);
    const data = [];
    const annotations = [];
    arms.forEach((arm, place) => {
      const base = arms.length - 1 - place;
      const color = c.arms[arm.arm % c.arms.length];
      const most = Math.max(...arm.counts, 1);
      const total = arm.counts.reduce((sum, count) => sum + count, 0) || 1;
      data.push({
        type: "bar", x: centres, y: arm.counts.map((count) => (0.56 * count) / most), base, width: edges[1] - edges[0],
        marker: { color, opacity: 0.75, line: { width: 0 } },
        customdata: arm.counts.map((count, bin) => [count, count / total, edges[bin], edges[bin + 1]]),
        hovertemplate: `${plain(view.arms[arm.arm].name)}<br>%{customdata[2]:.2f} to %{customdata[3]:.2f}<br><b>%{customdata[1]:.1%}</b>, %{customdata[0]} ${figure.unit}<extra></extra>`,
      });
      data.push({ x: [left, 1], y: [base, base], mode: "lines", line: { color: c.line, width: 1 }, hoverinfo: "skip" });
      if (arm.mean === null) return;
      data.push({ x: [arm.mean, arm.mean], y: [base, base + 0.62], mode: "lines", line: { color: c.ink, width: 2 }, hoverinfo: "skip" });
      const spread = arm.std === null ? "" : ` ± ${arm.std.toFixed(2)}`;
      annotations.push({
        x: 0, xref: "paper", y: base + 0.76, xanchor: "left", yanchor: "middle", showarrow: false, align: "left",
        text: `${label(view.arms[arm.arm].name, view.narrow ? 24 : 40)}  <span style="color:${c.soft}">mean ${arm.mean.toFixed(2).replace("-", "−")}${spread}</span>`,
        font: { size: 12.5, color: c.ink },
      });
    });
    return {
      data,
      layout: layout(view, {
        annotations, bargap: 0, barmode: "overlay",
        xaxis: { title: figure.axis, range: [left, 1], zeroline: left < 0, zerolinecolor: c["strong-line"] },
        yaxis: { visible: false, range: [-0.04, arms.length + 0.06], fixedrange: true },
      }),
    };
  };

  // accuracy per class ----------------------------------------------------------------------------
  const armsOf = (figure, view) => (figure.measures ? figure.measures[view.options.measure] : figure.arms);

  function classOrder(figure, view) {
    const order = view.classes.map((_, place) => place);
    const of = (place) =>
      armsOf(figure, view).filter((arm) => shown(view, arm.arm)).map((arm) => arm.mean[place]).filter((one) => one !== null);
    const mean = (place) => of(place).reduce((sum, one) => sum + one, 0) / (of(place).length || 1);
    const gap = (place) => (of(place).length ? Math.max(...of(place)) - Math.min(...of(place)) : -1);
    if (view.options.order === "hard") order.sort((a, b) => mean(a) - mean(b));
    if (view.options.order === "apart") order.sort((a, b) => gap(b) - gap(a));
    const most = view.options.shown && view.options.shown !== "all" ? Number(view.options.shown) : order.length;
    return order.slice(0, most);
  }

  kinds.classes = (figure, view) => {
    const c = view.colours;
    const order = classOrder(figure, view);
    const every = armsOf(figure, view);
    const fraction = !figure.measures || figure.fractions.includes(view.options.measure);
    const said = (value) => (fraction ? (100 * value).toFixed(1) : value.toPrecision(3)).replace("-", "−");
    const arms = every.filter((arm) => shown(view, arm.arm));
    const all = order.flatMap((place) => arms.map((arm) => arm.mean[place])).filter((one) => one !== null);
    const low = all.length ? Math.min(...all) : 0;
    const high = all.length ? Math.max(...all) : 1;
    const room = Math.max(0.03 * (high - low), fraction ? 0.004 : 1e-6);
    const tall = order.length > 60 ? 24 : Math.min(44, 12 + 6 * every.length); // px of a row
    const lane = (tall - 10) / tall / every.length;
    const data = [];
    arms.forEach((arm) => {
      const { name, symbol } = view.arms[arm.arm];
      const color = c.arms[arm.arm % c.arms.length];
      const up = (every.indexOf(arm) - (every.length - 1) / 2) * lane;
      const open = symbol.endsWith("open");
      data.push({
        x: order.map((place) => arm.mean[place]), y: order.map((_, row) => row + up), mode: "markers", cliponaxis: false,
        marker: { color, symbol, size: symbol.startsWith("tri") ? 10 : 8, line: { color: open ? color : c.ground, width: open ? 1.6 : 0.8 } },
        customdata: order.map((place) => {
          const spread = arm.std[place] === null ? "" : ` ± ${said(arm.std[place])}`;
          const images = figure.images ? `<br>${figure.images[place]} test images` : "";
          const mean = arm.mean[place] === null ? "–" : said(arm.mean[place]);
          return `<b>${plain(view.classes[place])}</b><br>${plain(name)}: ${mean}${spread}${fraction ? " %" : ""}${images}`;
        }),
        hovertemplate: "%{customdata}<extra></extra>",
      });
    });
    return {
      height: 44 + order.length * tall,
      data,
      layout: layout(view, {
        margin: { l: 8, r: 14, t: 34, b: 8 },
        shapes: order.map((_, row) => row).filter((row) => row % 2 === 0).map((row) => ({
          type: "rect", xref: "paper", x0: 0, x1: 1, y0: row - 0.5, y1: row + 0.5, layer: "below",
          fillcolor: c.raised, line: { width: 0 },
        })),
        xaxis: { side: "top", tickformat: fraction ? ".0~%" : "~g", range: [fraction ? Math.max(-0.01, low - room) : low - room, high + room], nticks: view.narrow ? 5 : 9, zeroline: false },
        yaxis: {
          tickvals: order.map((_, row) => row), ticktext: order.map((place) => label(view.classes[place], view.narrow ? 14 : 28)),
          range: [order.length - 0.5, -0.5], showgrid: false, zeroline: false, fixedrange: view.touch,
          tickfont: { color: c.ink, size: 12 },
        },
      }),
    };
  };

  window.fixhead.drawing = { layout, plain, shown, armsOf };
})();
