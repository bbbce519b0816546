// Dark or bright, as this browser was last told; else as the computer is set.
const button = document.getElementById("theme");
const kept = localStorage.getItem("theme");
if (kept) document.documentElement.dataset.theme = kept;
button?.addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark");
  const theme = dark ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
});
