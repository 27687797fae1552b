"use strict";
// Two dimensions: class vectors, areas and features; projections of more dimensions.
(() => {
  const { kinds, tables, drawing } = window.fixhead;
  const { layout, plain, lines, panels, panelTitle, hue } = drawing;

  const length = ([x, y]) => Math.hypot(x, y);
  const word = (view, place) => plain(String(view.classes[place]));
  const NAMED = 30;

  function ring([label, start, stop], size, inner, outer) {
    const steps = Math.max(2, Math.ceil((stop - start) / 0.05));
    const angles = Array.from({ length: steps + 1 }, (_, at) => start + ((stop - start) * at) / steps);
    const around = [...angles.map((a) => [outer, a]), ...angles.reverse().map((a) => [inner, a])];
    return {
      x: around.map(([r, a]) => r * Math.cos(a)), y: around.map(([r, a]) => r * Math.sin(a)),
      mode: "lines", fill: "toself", fillcolor: hue(label, size, 0.7), line: { width: 0.5, color: hue(label, size, 1) },
      hoverinfo: "text", hoveron: "fills",
    };
  }

  // Which step of a run the slider stands at: runs may have stopped at different epochs.
  const stepOf = (run, view) => Math.min(Number(view.options.epoch ?? run.epochs.length - 1), run.epochs.length - 1);
  const sectorsAt = (run, step) => run.sectors[Math.min(step, run.sectors.length - 1)] || [];

  // One size for all epochs, so that growth is seen: 98 of 100 features lie inside.
  function reach(run) {
    const vectors = Math.max(...run.paths.flatMap(([xs, ys]) => xs.map((x, at) => Math.hypot(x, ys[at]))), 1e-9);
    const lengths = run.points.flat().map(length).sort((a, b) => a - b);
    const points = lengths.length ? lengths[Math.floor(0.98 * (lengths.length - 1))] : vectors;
    return { most: Math.max(points, 1e-9), times: lengths.length ? Math.max(points, 1e-9) / vectors : 1 };
  }

  function scattered(points, labels, size, view, opacity, wide = 5) {
    const found = new Map();
    points.forEach((point, at) => {
      if (!found.has(labels[at])) found.set(labels[at], []);
      found.get(labels[at]).push(point);
    });
    return [...found].sort(([a], [b]) => a - b).map(([place, own]) => ({
      x: own.map(([x]) => x), y: own.map(([, y]) => y), mode: "markers", hoverinfo: "text",
      marker: { color: hue(place, size, 1), size: wide, opacity }, text: own.map(() => word(view, place)),
    }));
  }

  function arrows(tips, size, view, width = 2, wide = 9) {
    const c = view.colours;
    return tips.flatMap(([x, y], place) => [
      { x: [0, x], y: [0, y], mode: "lines", line: { color: hue(place, size, 1), width }, hoverinfo: "skip" },
      {
        x: [x], y: [y], mode: size <= NAMED ? "markers+text" : "markers", hoverinfo: "text", hovertext: word(view, place),
        marker: { color: hue(place, size, 1), size: wide, line: { color: c.ground, width: 1.5 } },
        text: [word(view, place).slice(0, 14)], textposition: x < 0 ? "middle left" : "middle right", textfont: { color: c.ink, size: 12 },
      },
    ]);
  }

  const square = (view, most, more = {}) => layout(view, {
    margin: { l: 8, r: 8, t: 8, b: 8 },
    xaxis: { range: [-most, most], tickformat: "~g", automargin: true, zeroline: true, ...more.xaxis },
    yaxis: { range: [-most, most], tickformat: "~g", scaleanchor: "x", automargin: true, zeroline: true, ...more.yaxis },
  });

  kinds.plane = (figure, view) => {
    const run = figure.runs[Number(view.options.run)];
    const size = run.paths.length;
    const step = stepOf(run, view);
    const { most, times } = reach(run);
    const data = sectorsAt(run, step).map((sector) => ({
      ...ring(sector, size, 1.16 * most, 1.27 * most),
      text: `${word(view, sector[0])}: ${((100 * (sector[2] - sector[1])) / (2 * Math.PI)).toFixed(1)} % of the circle`,
    }));
    data.push(...scattered(run.points[step] || [], run.labels, size, view, 0.4));
    run.paths.forEach(([xs, ys], place) => data.push({
      x: xs.slice(0, step + 1).map((x) => times * x), y: ys.slice(0, step + 1).map((y) => times * y), mode: "lines",
      line: { color: hue(place, size, 0.75), width: 1.6, dash: "dot" }, hoverinfo: "text",
      text: run.epochs.map((epoch) => `${word(view, place)}, epoch ${epoch}`),
    }));
    data.push(...arrows(run.paths.map(([xs, ys]) => [times * xs[step], times * ys[step]]), size, view));
    const drawn = Math.abs(times - 1) < 0.005 ? "" : `class vectors are drawn ${times.toPrecision(2)} times as long`;
    return { data, layout: square(view, 1.32 * most, { xaxis: { title: drawn } }) };
  };

  tables.plane = (figure, view) => {
    const run = figure.runs[Number(view.options.run)];
    const step = stepOf(run, view);
    const sectors = sectorsAt(run, step);
    const share = new Array(run.paths.length).fill(sectors.length ? 0 : null);
    for (const [label, start, stop] of sectors) share[label] += (stop - start) / (2 * Math.PI);
    return {
      columns: ["Class", "Share of the circle", "First x", "First y", "x", "y"],
      rows: run.paths.map(([xs, ys], place) => [
        view.classes[place], share[place] === null ? null : Number(share[place].toFixed(4)),
        xs[0], ys[0], xs[step], ys[step],
      ]),
      before: `${run.head}, seed ${run.seed}, epoch ${run.epochs[step]}`,
    };
  };

  kinds.areas = (figure, view) => {
    const rows = [...figure.rows].reverse();
    const size = rows[0].shares.length;
    const names = rows.map((row, at) => at);
    const data = rows[0].shares.map((_, place) => ({
      type: "bar", orientation: "h", y: names, x: rows.map((row) => row.shares[place]), hoverinfo: "text",
      marker: { color: hue(place, size, 0.85), line: { color: view.colours.ground, width: 1 } },
      hovertext: rows.map((row) => `${plain(view.arms[row.arm].name)}, seed ${row.seed}<br>${word(view, place)}: <b>${(100 * row.shares[place]).toFixed(1)} %</b>`),
      text: rows.map((row) => (size <= NAMED && row.shares[place] > 0.035 ? word(view, place).slice(0, 9) : "")),
      textposition: "inside", insidetextanchor: "middle", textangle: 0, textfont: { color: "#fff", size: 11 }, constraintext: "inside",
    }));
    const owners = (row) => row.shares.filter((share) => share >= 1e-9).length;
    return {
      data,
      layout: layout(view, {
        barmode: "stack", bargap: 0.22, margin: { l: 8, r: 70, t: 8, b: 8 },
        annotations: rows.map((row, at) => ({
          x: 1, xref: "paper", xanchor: "left", y: at, showarrow: false, text: ` ${owners(row)} of ${size}`, font: { color: view.colours.soft, size: 12 },
        })),
        xaxis: { range: [0, 1], tickformat: ".0%", title: "share of the circle; at the right, classes with an area", zeroline: false },
        yaxis: {
          tickvals: names, showgrid: false, zeroline: false, fixedrange: true,
          ticktext: rows.map((row) => `${plain(view.narrow ? view.arms[row.arm].name.slice(0, 12) : view.arms[row.arm].name)}, ${row.seed}`),
        },
      }),
    };
  };

  tables.areas = (figure, view) => ({
    columns: ["Head", "Seed", "Without an area", ...view.classes],
    rows: figure.rows.map((row) => [view.arms[row.arm].name, row.seed, row.shares.filter((share) => share < 1e-9).length, ...row.shares]),
  });

  // Features of more dimensions, seen in two -------------------------------------------------------
  const viewOf = (figure, view) => {
    const run = figure.runs[Number(view.options.run)];
    return { run, found: run.views.find((one) => one.method === view.options.view) || run.views[0] };
  };

  kinds.views = (figure, view) => {
    const c = view.colours;
    const { run, found } = viewOf(figure, view);
    const size = view.classes.length;
    const origin = found.origin || [0, 0];
    const away = ([x, y]) => [x - origin[0], y - origin[1]];
    const lengths = found.points.map(away).map(length).sort((a, b) => a - b);
    const far = lengths[Math.floor(0.98 * (lengths.length - 1))] || 1;
    const longest = Math.max(...found.vectors.map(away).map(length), 1e-9);
    const times = found.origin ? far / longest : 1; // embeddings place vectors themselves
    const wrong = new Set(run.wrong);
    const right = found.points.map((_, at) => at).filter((at) => !wrong.has(at));
    const data = [
      ...scattered(right.map((at) => found.points[at]), right.map((at) => run.labels[at]), size, view, 0.55),
      {
        x: run.wrong.map((at) => found.points[at][0]), y: run.wrong.map((at) => found.points[at][1]), mode: "markers", hoverinfo: "text",
        marker: { color: run.wrong.map((at) => hue(run.labels[at], size, 1)), symbol: "x", size: 7, line: { color: c.ink, width: 0.7 } },
        text: run.wrong.map((at) => `${word(view, run.labels[at])}, put wrong`),
      },
    ];
    const tips = found.vectors.map(away).map(([x, y]) => [times * x, times * y]);
    for (const trace of arrows(tips, size, view)) {
      if (!found.origin && trace.mode === "lines") continue;
      trace.x = trace.x.map((x) => x + origin[0]);
      trace.y = trace.y.map((y) => y + origin[1]);
      if (trace.marker) Object.assign(trace.marker, { symbol: "diamond", size: 10, line: { color: c.ink, width: 1.2 } });
      data.push(trace);
    }
    const all = [...found.points, ...tips.map(([x, y]) => [x + origin[0], y + origin[1]])];
    const around = found.method === "class-plane" ? run.sectors : []; // areas: where d = 2 itself
    data.push(...around.map((sector) => ({
      ...ring(sector, size, 1.1 * far, 1.18 * far),
      text: `${word(view, sector[0])}: ${((100 * (sector[2] - sector[1])) / (2 * Math.PI)).toFixed(1)} % of the circle`,
    })));
    if (around.length) all.push([1.2 * far, 1.2 * far], [-1.2 * far, -1.2 * far]);
    const [left, right_] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
    const [low, high] = [Math.min(...all.map(([, y]) => y)), Math.max(...all.map(([, y]) => y))];
    const half = 0.58 * Math.max(right_ - left, high - low, 1e-9);
    const [x, y] = [(left + right_) / 2, (low + high) / 2];
    const scale = found.origin && Math.abs(times - 1) > 0.005 ? `; vectors ${times.toPrecision(2)} times as long` : "";
    const ticks = found.origin ? {} : { showticklabels: false };
    return {
      data,
      layout: layout(view, {
        margin: { l: 8, r: 8, t: 8, b: 8 },
        xaxis: { range: [x - half, x + half], tickformat: "~g", zeroline: false, title: lines(found.said + scale, Math.floor(view.width / 7)).join("<br>"), ...ticks },
        yaxis: { range: [y - half, y + half], tickformat: "~g", zeroline: false, scaleanchor: "x", ...ticks },
      }),
    };
  };

  tables.views = (figure, view) => {
    const { run, found } = viewOf(figure, view);
    const wrong = new Set(run.wrong);
    return {
      columns: ["What", "Class", "x", "y", "Put right"],
      rows: [
        ...found.vectors.map(([x, y], place) => ["class vector", view.classes[place], x, y, null]),
        ...found.points.map(([x, y], at) => ["test image", view.classes[run.labels[at]], x, y, wrong.has(at) ? "no" : "yes"]),
      ],
      before: `${run.name}, ${found.said}`,
    };
  };

  // Panels of a paper: points and class vectors of one run each, or the paths of its vectors ----------
  const farthest = (points) => {
    const lengths = points.map(length).sort((a, b) => a - b);
    return lengths[Math.floor(0.98 * (lengths.length - 1))] || 1;
  };

  function panelled(figure, view, traces) {
    const { side, wide, tall, places } = panels(view, figure.panels.map(({ title }) => title), { largest: 340 });
    const axes = {};
    const data = figure.panels.flatMap((panel, at) => {
      const place = places[at];
      const { most, drawn } = traces(panel);
      const axis = { range: [-most, most], showticklabels: false, showgrid: false, zeroline: true, zerolinecolor: view.colours.line, automargin: false, fixedrange: view.touch };
      axes[`xaxis${place.end}`] = { ...axis, domain: place.x, anchor: `y${place.end}` };
      axes[`yaxis${place.end}`] = { ...axis, domain: place.y, anchor: `x${place.end}` };
      return drawn.map((trace) => ({ ...trace, xaxis: `x${place.end}`, yaxis: `y${place.end}` }));
    });
    const annotations = figure.panels.map((panel, at) => panelTitle(view, places[at], panel.title, side));
    const { xaxis, yaxis, ...others } = axes;
    return {
      height: Math.ceil(tall) + 8,
      data,
      layout: layout(view, { margin: { l: 0, r: view.width - wide, t: 0, b: 8 }, annotations, xaxis, yaxis, ...others }),
    };
  }

  kinds.planes = (figure, view) => panelled(figure, view, (panel) => {
    const size = view.classes.length;
    const far = farthest(panel.points);
    const longest = Math.max(...panel.vectors.map(length), 1e-9);
    const sectors = (panel.sectors || []).map(({ label, start, stop }) => ({
      ...ring([label, start, stop], size, 1.18 * far, 1.3 * far),
      text: `${word(view, label)}: ${((100 * (stop - start)) / (2 * Math.PI)).toFixed(1)} % of the circle`,
    }));
    const near = panel.points.map((_, at) => at).filter((at) => Math.max(...panel.points[at].map(Math.abs)) <= 1.15 * far);
    const tips = panel.vectors.map(([x, y]) => [(0.95 * far * x) / longest, (0.95 * far * y) / longest]);
    return {
      most: 1.35 * far,
      drawn: [
        ...sectors,
        ...scattered(near.map((at) => panel.points[at]), near.map((at) => panel.labels[at]), size, view, 0.6, 4),
        ...arrows(tips, size, view),
      ],
    };
  });

  tables.planes = (figure, view) => ({
    columns: ["Panel", "What", "Class", "x", "y"],
    rows: figure.panels.flatMap((panel) => [
      ...panel.vectors.map(([x, y], place) => [panel.title, "class vector", view.classes[place], x, y]),
      ...(panel.sectors || []).map(({ label, start, stop }) => [
        panel.title, `area, ${((100 * (stop - start)) / (2 * Math.PI)).toFixed(1)} % of the circle`, view.classes[label], null, null,
      ]),
      ...panel.points.map(([x, y], at) => [panel.title, "image", view.classes[panel.labels[at]], x, y]),
    ]),
  });

  // A line per class vector, from the first epoch to the last, where its name stands.
  kinds.paths = (figure, view) => panelled(figure, view, (panel) => {
    const size = view.classes.length;
    const most = 1.25 * (Math.max(...panel.paths.flatMap(([xs, ys]) => xs.map((x, at) => Math.hypot(x, ys[at])))) || 1);
    const drawn = panel.paths.map(([xs, ys], place) => ({
      x: xs, y: ys, mode: "lines", line: { color: hue(place, size, 1), width: 1.6 }, hoverinfo: "text",
      text: xs.map((_, epoch) => `${word(view, place)}, step ${epoch + 1} of ${xs.length}`),
    }));
    const tips = panel.paths.map(([xs, ys]) => [xs[xs.length - 1], ys[ys.length - 1]]);
    return { most, drawn: [...drawn, ...arrows(tips, size, view, 1, 6)] };
  });

  tables.paths = (figure, view) => ({
    columns: ["Panel", "Class", "Step", "x", "y"],
    rows: figure.panels.flatMap((panel) =>
      panel.paths.flatMap(([xs, ys], place) => xs.map((x, at) => [panel.title, view.classes[place], at + 1, x, ys[at]]))),
  });
})();
