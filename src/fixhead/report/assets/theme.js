"use strict";
// Before the first paint, so that a chosen theme does not flash in the other one's colours.
try {
  const chosen = localStorage.getItem("fixhead-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch (error) { /* storage may be shut off; the system's theme serves */ }
