"use strict";
(() => {
  const MOST_ROWS = 100;
  const part = (name) => document.getElementById(name);
  const zone = part("zone"), input = part("picture"), status = part("status"), result = part("result");
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  let asked = 0;

  const make = (kind, text) => {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const row = (name, text, value, low) => {
    const line = make("tr"), bar = make("td"), meter = make("meter"), number = make("td", text);
    const head = make("th", name);
    head.scope = "row";
    meter.min = low;
    meter.max = 1;
    meter.value = value;
    meter.setAttribute("aria-hidden", "true");
    number.className = "number";
    bar.append(meter);
    line.append(head, bar, number);
    return line;
  };

  const neighbour = (one) => {
    const item = make("li");
    if (one.picture !== null) {
      const picture = make("img");
      picture.src = one.picture;
      picture.alt = `a training image of ${one.class}`;
      item.append(picture);
    }
    item.append(make("span", `${one.class}, ${one.cosine.toFixed(3)}`));
    return item;
  };

  const show = (answer) => {
    const sure = `${answer.class}, ${percent(answer.probability)}`;
    part("verdict").textContent = answer.unknown ? `unknown; nearest: ${sure}` : sure;
    const score = answer.score;
    part("why").textContent = score === null
      ? "This model was not calibrated: nothing is called unknown."
      : `${score.name} ${score.value.toFixed(3)}; below ${score.threshold.toFixed(3)} a picture is ` +
        `called unknown, as are at most ${percent(score.rate)} of the validation images.`;
    part("top").replaceChildren(
      ...answer.top.map((one) => row(one.class, percent(one.probability), one.probability, 0)));
    part("cosines").replaceChildren(
      ...answer.cosines.slice(0, MOST_ROWS).map((one) => row(one.class, one.cosine.toFixed(3), one.cosine, -1)));
    const more = answer.cosines.length - MOST_ROWS;
    part("more").textContent = more > 0 ? `and ${more} more, in the JSON answer` : "";
    part("nearest").replaceChildren(...answer.nearest.map(neighbour));
    part("nearest-part").hidden = answer.nearest.length === 0;
    result.hidden = false;
  };

  const ask = async (file) => {
    const turn = ++asked;
    status.textContent = "…";
    result.hidden = true;
    const shown = part("shown");
    if (shown.src.startsWith("blob:")) URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(file);
    shown.hidden = false;
    try {
      const name = file.name.replace(/[^\x20-\x7e]/g, "?");
      const reply = await fetch("predict", { method: "POST", body: file, headers: { "X-File-Name": name } });
      const answer = await reply.json();
      if (turn !== asked) return;
      if (!reply.ok) throw new Error(answer.detail);
      show(answer);
      status.textContent = file.name;
    } catch (error) {
      if (turn === asked) status.textContent = error.message;
    }
  };

  input.addEventListener("change", () => { if (input.files.length) ask(input.files[0]); });
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
  });
})();
