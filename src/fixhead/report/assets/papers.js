"use strict";
// Charts of papers' pages: counts, runs by arm, points, lines.
(() => {
  const { kinds, tables, drawing } = window.fixhead;
  const { layout, plain, label, shareRange } = drawing;

  const color = (view, at) => view.colours.arms[at % view.colours.arms.length];
  const named = (series) => [...new Set(series.map((one) => one.name))];
  const legend = (view, series) => ({
    showlegend: named(series).length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12, color: view.colours.ink } },
  });
  const roomy = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const more = 0.06 * (high - low) || 0.01;
    return [low - more, high + more];
  };

  // Counts per class, a bar per series; log scale, so that the tail can be seen.
  kinds.bars = (figure, view) => ({
    data: figure.series.map((one, at) => ({
      type: "bar", name: plain(one.name), x: figure.names.map((name) => label(name, 14)), y: one.values.map((value) => Math.max(value, 0.9)),
      marker: { color: color(view, at) }, text: one.values.map(String), textposition: "outside", cliponaxis: false,
      hovertemplate: one.values.map((value, place) => `${plain(figure.names[place])}, ${plain(one.name)}: <b>${value}</b><extra></extra>`),
      textfont: { size: 11 },
    })),
    layout: layout(view, {
      ...legend(view, figure.series), barmode: "group", bargap: 0.2, margin: { l: 8, r: 12, t: 40, b: 8 },
      xaxis: { type: "category", showgrid: false, tickangle: view.narrow ? -60 : 0 },
      yaxis: { type: "log", title: `${figure.y}, log scale`, tickformat: "~s", nticks: 6 },
    }),
  });

  tables.bars = (figure) => ({
    columns: ["", ...figure.series.map((one) => one.name)],
    rows: figure.names.map((name, at) => [name, ...figure.series.map((one) => one.values[at])]),
  });

  // A dot per run and a line at the mean, a row per arm.
  kinds.dots = (figure, view) => {
    const percent = figure.unit === "percent";
    const rows = figure.series.map((_, at) => figure.series.length - 1 - at);
    const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
    const said = percent ? ".1%" : ".4~g";
    const values = figure.series.flatMap((one) => one.values);
    return {
      data: figure.series.flatMap((one, at) => [
        {
          x: one.values, y: one.values.map(() => rows[at]), mode: "markers", cliponaxis: false,
          marker: { color: color(view, at), size: 10, opacity: 0.6 }, hovertemplate: `${plain(one.name)}: <b>%{x:${said}}</b><extra></extra>`,
        },
        {
          x: [mean(one.values), mean(one.values)], y: [rows[at] - 0.32, rows[at] + 0.32], mode: "lines",
          line: { color: color(view, at), width: 2.5 }, hovertemplate: `mean of ${plain(one.name)}: <b>%{x:${said}}</b><extra></extra>`,
        },
      ]),
      layout: layout(view, {
        xaxis: { title: figure.x, range: percent ? shareRange(values) : roomy(values), tickformat: percent ? ".0~%" : "~g", zeroline: false },
        yaxis: {
          range: [-0.6, figure.series.length - 0.4], tickvals: rows, ticktext: figure.series.map((one) => label(one.name, view.narrow ? 16 : 40)),
          tickfont: { color: view.colours.ink, size: 12 }, showgrid: false, zeroline: false, fixedrange: true,
        },
      }),
    };
  };

  tables.dots = (figure) => ({
    columns: ["Arm", figure.x],
    rows: figure.series.flatMap((one) => one.values.map((value) => [one.name, value])),
  });

  const scatter = (mode) => (figure, view) => {
    const names = named(figure.series);
    const seen = new Set();
    const share = /accuracy/.test(figure.y); // a share of images, which no axis shows beyond 100 %
    const yaxis = share ? { range: shareRange(figure.series.flatMap((one) => one.y)), tickformat: ".0~%" } : { tickformat: "~g" };
    return {
      data: figure.series.map((one) => {
        const at = names.indexOf(one.name);
        const first = !seen.has(one.name);
        seen.add(one.name);
        return {
          x: one.x, y: one.y, mode, name: plain(one.name), showlegend: first, legendgroup: String(at), cliponaxis: false,
          marker: { color: color(view, at), size: 6, opacity: 0.6 }, line: { color: color(view, at), width: 1.6 },
          hovertemplate: `${plain(one.name)}<br>%{x:~g}: <b>%{y:.4~g}</b><extra></extra>`,
        };
      }),
      layout: layout(view, {
        ...legend(view, figure.series), margin: { l: 8, r: 14, t: 34, b: 8 },
        xaxis: { title: figure.x, zeroline: false, tickformat: "~g" }, yaxis: { title: figure.y, zeroline: false, ...yaxis },
      }),
    };
  };
  kinds.points = scatter("markers");
  kinds.lines = scatter("lines");

  const pairs = (figure) => ({
    columns: ["Series", figure.x, figure.y],
    rows: figure.series.flatMap((one) => one.x.map((x, at) => [one.name, x, one.y[at]])),
  });
  tables.points = pairs;
  tables.lines = pairs;
})();
