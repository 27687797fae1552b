"use strict";
// Neural collapse by epoch, and class vectors in the plane.
(() => {
  const { kinds, tables, drawing } = window.fixhead;
  const { layout, plain, shown } = drawing;

  const MEASURES = ["nc1", "equinorm", "equiangularity_deviation", "alignment", "self_duality"];

  function mean(runs, name) {
    const sums = new Map();
    for (const run of runs)
      run.epochs.forEach((epoch, at) => {
        if (run[name][at] === null) return;
        const [sum, n] = sums.get(epoch) || [0, 0];
        sums.set(epoch, [sum + run[name][at], n + 1]);
      });
    const kept = [...sums].filter(([, [, n]]) => n === runs.length).sort(([a], [b]) => a - b);
    return { x: kept.map(([epoch]) => epoch), y: kept.map(([, [sum, n]]) => sum / n) };
  }

  kinds.collapse = (figure, view) => {
    const name = view.options.measure;
    const data = [];
    let last = 1;
    figure.arms.forEach((runs, place) => {
      for (const run of runs) last = Math.max(last, ...run.epochs);
      if (!shown(view, place) || !runs.length) return;
      const { name: head, dash } = view.arms[place];
      const color = view.colours.arms[place % view.colours.arms.length];
      const mode = last > 1 ? "lines" : "markers";
      for (const run of runs)
        data.push({ x: run.epochs, y: run[name], mode, line: { color, width: 1, dash }, marker: { color, size: 5 }, opacity: 0.38, hoverinfo: "skip" });
      data.push({ ...mean(runs, name), name: plain(head), mode, line: { color, width: 2.6, dash }, marker: { color, size: 7 }, hovertemplate: "%{y:.4f}" });
    });
    const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((one) => last / one <= (view.narrow ? 6 : 12));
    return {
      data,
      layout: layout(view, {
        hovermode: view.narrow ? "closest" : "x unified",
        xaxis: { title: "epoch", dtick: step || 1000, range: [0.5, last * 1.015 + 0.4], hoverformat: "d", unifiedhovertitle: { text: "epoch %{x}" }, showgrid: false },
        yaxis: name === "nc1" ? { type: "log", tickformat: "~g", nticks: 6 } : { tickformat: "~g" },
      }),
    };
  };

  tables.collapse = (figure, view) => ({
    columns: ["Head", "Seed", "Epoch", "NC1", "Spread of lengths", "Deviation from equal angles", "Alignment", "Self-duality"],
    rows: figure.arms.flatMap((runs, place) =>
      runs.flatMap((run) =>
        run.epochs.map((epoch, at) => [
          view.arms[place].name, run.seed, epoch, ...MEASURES.map((name) => run[name][at]),
        ]))),
  });

  // A hue per class, evenly apart; names stand beside the vectors, so no colour is needed to tell.
  const hue = (place, size, alpha) => `hsla(${Math.round((360 * place) / size)}, 55%, 50%, ${alpha})`;

  function ring([label, start, stop], size, inner, outer) {
    const steps = Math.max(2, Math.ceil((stop - start) / 0.05));
    const angles = Array.from({ length: steps + 1 }, (_, at) => start + ((stop - start) * at) / steps);
    const around = [...angles.map((a) => [outer, a]), ...angles.reverse().map((a) => [inner, a])];
    return {
      x: around.map(([r, a]) => r * Math.cos(a)), y: around.map(([r, a]) => r * Math.sin(a)),
      mode: "lines", fill: "toself", fillcolor: hue(label, size, 0.55), line: { width: 0.5, color: hue(label, size, 0.9) },
      hoverinfo: "text", hoveron: "fills",
    };
  }

  kinds.plane = (figure, view) => {
    const c = view.colours;
    const run = figure.runs[Number(view.options.run)];
    const size = run.paths.length;
    const most = Math.max(...run.paths.flatMap(([xs, ys]) => xs.map((x, at) => Math.hypot(x, ys[at]))), 1e-9);
    const data = run.sectors.map((sector) => ({
      ...ring(sector, size, 1.2 * most, 1.32 * most),
      text: `${plain(view.classes[sector[0]])}: ${((100 * (sector[2] - sector[1])) / (2 * Math.PI)).toFixed(1)} % of the circle`,
    }));
    run.paths.forEach(([xs, ys], place) => {
      data.push({
        x: xs, y: ys, mode: "lines", line: { color: hue(place, size, 0.8), width: 1.8 }, hoverinfo: "text",
        text: run.epochs.map((epoch) => `${plain(view.classes[place])}, epoch ${epoch}`),
      });
      data.push({
        x: [xs[xs.length - 1]], y: [ys[ys.length - 1]], mode: "markers+text", hoverinfo: "skip",
        marker: { color: hue(place, size, 1), size: 8 }, textposition: "top center",
        text: [size <= 30 ? plain(String(view.classes[place]).slice(0, 12)) : ""], textfont: { color: c.ink, size: 12 },
      });
    });
    const range = [-1.4 * most, 1.4 * most];
    return {
      data,
      layout: layout(view, {
        margin: { l: 8, r: 8, t: 8, b: 8 },
        xaxis: { range, tickformat: "~g", automargin: true },
        yaxis: { range, tickformat: "~g", scaleanchor: "x", automargin: true },
      }),
    };
  };

  tables.plane = (figure, view) => {
    const run = figure.runs[Number(view.options.run)];
    const share = new Array(run.paths.length).fill(run.sectors.length ? 0 : null);
    for (const [label, start, stop] of run.sectors) share[label] += (stop - start) / (2 * Math.PI);
    return {
      columns: ["Class", "Share of the circle", "First x", "First y", "Last x", "Last y"],
      rows: run.paths.map(([xs, ys], place) => [
        view.classes[place], share[place] === null ? null : Number(share[place].toFixed(4)),
        xs[0], ys[0], xs[xs.length - 1], ys[ys.length - 1],
      ]),
      before: `${run.head}, seed ${run.seed}`,
    };
  };
})();
