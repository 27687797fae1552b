"use strict";
// What all drawings share: texts, layout, panels, colours of classes. Nothing here touches the page.
window.fixhead = { kinds: {}, tables: {} };

(() => {
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

  // The range of shares that are to be seen, with some room, and never beyond 0 and 100 %.
  function shareRange(values, { log = false } = {}) {
    const known = values.filter((one) => one !== null && one !== undefined && (!log || one > 0));
    if (!known.length) return log ? [-2, 0] : [0, 1];
    const [low, high] = [Math.min(...known), Math.max(...known)].map((one) => (log ? Math.log10(one) : one));
    const room = Math.max(0.05 * (high - low), log ? 0.08 : 0.01);
    return log ? [low - room, Math.min(0, high + room)] : [Math.max(0, low - room), Math.min(1, high + room)];
  }

  // Where panels of one size stand in a grid under their titles, in shares of the drawing.
  function panels(view, titles, { most = 3, bar = 0, largest = 420 } = {}) {
    const count = titles.length;
    const columns = view.width < 520 ? 1 : Math.min(most, count === 4 ? 2 : count);
    const rows = Math.ceil(count / columns);
    const gap = 26;
    const side = Math.min(largest, (view.width - bar - gap * (columns - 1)) / columns);
    const top = 12 + 18 * Math.max(...titles.map((title) => lines(title, Math.floor(side / 7)).length));
    const wide = columns * side + gap * (columns - 1);
    const tall = rows * (side + top);
    const places = titles.map((_, at) => {
      const [left, row] = [(at % columns) * (side + gap), Math.floor(at / columns)];
      const high = 1 - (row * (side + top) + top) / tall;
      return { end: at ? String(at + 1) : "", x: [left / wide, (left + side) / wide], y: [Math.max(0, high - side / tall), high] };
    });
    return { side, wide, tall, top, places };
  }

  // A panel's title on as many lines as it needs: nothing of it is lost.
  function lines(text, most) {
    const found = [""];
    for (const word of String(text).split(" ")) {
      const last = found[found.length - 1];
      if (last && last.length + 1 + word.length > most) found.push(word);
      else found[found.length - 1] = last ? `${last} ${word}` : word;
    }
    return found;
  }
  const panelTitle = (view, place, text, side) => ({
    x: place.x[0], y: place.y[1], xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, align: "left",
    text: lines(text, Math.floor(side / 7)).map(plain).join("<br>"), font: { size: 13, color: view.colours.ink },
  });

  const colorbar = (view, more) => ({
    thickness: 9, outlinewidth: 0, xpad: 8, ypad: 0, tickvals: [-1, -0.5, 0, 0.5, 1],
    ticktext: ["−1", "−0.5", "0", "0.5", "1"], tickfont: { color: view.colours.soft, size: 12 }, ...more,
  });

  // A hue per class. Every other one is darker, so that neighbours differ in lightness too; names
  // stand beside the vectors, so no colour is needed to tell.
  const hue = (place, size, alpha) =>
    `hsla(${Math.round((360 * place) / size)}, ${place % 2 ? 48 : 62}%, ${place % 2 ? 40 : 54}%, ${alpha})`;

  const epochStep = (last, view) =>
    [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((one) => last / one <= (view.narrow ? 6 : 12)) || 1000;

  window.fixhead.drawing = { layout, plain, label, lines, shown, shareRange, panels, panelTitle, colorbar, hue, epochStep };
})();
