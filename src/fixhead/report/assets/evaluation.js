"use strict";
// Figures that only an evaluation's page has: reliability.
(() => {
  const { kinds, tables, drawing } = window.fixhead;
  const { layout, plain, shown } = drawing;

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
})();
