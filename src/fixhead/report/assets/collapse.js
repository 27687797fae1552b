"use strict";
// Neural collapse by epoch.
(() => {
  const { kinds, tables, drawing } = window.fixhead;
  const { layout, plain, shown } = drawing;

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
        yaxis: figure.curves.find((one) => one.name === name).logarithmic ? { type: "log", tickformat: "~g", nticks: 6 } : { tickformat: "~g" },
      }),
    };
  };

  tables.collapse = (figure, view) => ({
    columns: ["Head", "Seed", "Epoch", ...figure.curves.map((one) => one.short)],
    rows: figure.arms.flatMap((runs, place) =>
      runs.flatMap((run) =>
        run.epochs.map((epoch, at) => [
          view.arms[place].name, run.seed, epoch, ...figure.curves.map((one) => run[one.name][at]),
        ]))),
  });
})();
