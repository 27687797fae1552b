"use strict";
// Curves and dots by arm: accuracy, collapse, reliability, histograms, classes.
(() => {
  const { kinds, tables, drawing } = window.fixhead;
  const { layout, plain, label, shown, shareRange, epochStep } = drawing;

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
    const yaxis = fraction ? { tickformat: ".0~%" } : { tickformat: "~g", rangemode: "tozero" };
    if (fraction) {
      const visible = figure.arms.flatMap((runs, place) => (shown(view, place) ? runs.flatMap((run) => measure(run, name)) : []));
      yaxis.range = shareRange(visible, { log: name === "val_error" });
    }
    if (name === "val_error") {
      const ticks = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
      Object.assign(yaxis, { type: "log", tickvals: ticks, tickformat: "~%" });
    }
    return {
      data,
      layout: layout(view, {
        hovermode: view.narrow ? "closest" : "x unified",
        xaxis: { title: "epoch", dtick: epochStep(last, view), range: [last > 1 ? 0.6 : 0.5, last + (last > 1 ? last * 0.015 + 0.2 : 0.5)], hoverformat: "d", unifiedhovertitle: { text: "epoch %{x}" }, showgrid: false },
        yaxis,
      }),
    };
  };

  // neural collapse by epoch ------------------------------------------------------------------
  function meanCollapse(runs, name) {
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
      data.push({ ...meanCollapse(runs, name), name: plain(head), mode, line: { color, width: 2.6, dash }, marker: { color, size: 7 }, hovertemplate: "%{y:.4f}" });
    });
    return {
      data,
      layout: layout(view, {
        hovermode: view.narrow ? "closest" : "x unified",
        xaxis: { title: "epoch", dtick: epochStep(last, view), range: [0.5, last * 1.015 + 0.4], hoverformat: "d", unifiedhovertitle: { text: "epoch %{x}" }, showgrid: false },
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

  // reliability ------------------------------------------------------------------------------
  kinds.calibration = (figure, view) => {
    const c = view.colours;
    const data = [{
      x: [0, 1], y: [0, 1], mode: "lines", line: { color: c["strong-line"], width: 1.2, dash: "dot" }, hoverinfo: "skip",
    }];
    for (const arm of figure.arms) {
      if (!shown(view, arm.arm)) continue;
      const { name, symbol, dash } = view.arms[arm.arm];
      const color = c.arms[arm.arm % c.arms.length];
      const bins = arm.share.map((_, bin) => bin).filter((bin) => arm.share[bin] > 0 && arm.confidence[bin] !== null && arm.accuracy[bin] !== null);
      data.push({
        x: bins.map((bin) => arm.confidence[bin]), y: bins.map((bin) => arm.accuracy[bin]), mode: "lines+markers", name: plain(name),
        line: { color, width: 1.4, dash },
        marker: { color, symbol, opacity: 1, size: bins.map((bin) => 6 + 16 * Math.sqrt(arm.share[bin])), line: { color: symbol.endsWith("open") ? color : c.ground, width: 1 } },
        customdata: bins.map((bin) => arm.share[bin]), cliponaxis: false,
        hovertemplate: `${plain(name)}<br>confidence %{x:.1%}, accuracy <b>%{y:.1%}</b><br>%{customdata:.1%} of the images<extra></extra>`,
      });
    }
    return {
      data,
      layout: layout(view, {
        margin: { l: 8, r: 14, t: 14, b: 8 },
        xaxis: { title: "confidence of the prediction", range: [0, 1.01], tickformat: ".0%", zeroline: false },
        yaxis: { title: "accuracy", range: [0, 1.02], tickformat: ".0%", zeroline: false },
      }),
    };
  };

  tables.calibration = (figure, view) => ({
    columns: ["Head", "Bin", "Share of images", "Confidence", "Accuracy"],
    rows: figure.arms.flatMap((arm) => arm.share.map((share, bin) => [view.arms[arm.arm].name, bin + 1, share, arm.confidence[bin], arm.accuracy[bin]])),
  });

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
    const room = Math.max(0.03 * (high - low), 1e-6);
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
        xaxis: { side: "top", tickformat: fraction ? ".0~%" : "~g", range: fraction ? shareRange(all) : [low - room, high + room], nticks: view.narrow ? 5 : 9, zeroline: false },
        yaxis: {
          tickvals: order.map((_, row) => row), ticktext: order.map((place) => label(view.classes[place], view.narrow ? 14 : 28)),
          range: [order.length - 0.5, -0.5], showgrid: false, zeroline: false, fixedrange: view.touch,
          tickfont: { color: c.ink, size: 12 },
        },
      }),
    };
  };

  window.fixhead.armsOf = armsOf;
})();
