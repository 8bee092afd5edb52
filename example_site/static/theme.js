// Dark, light, or as the system says: the one script that runs before the page is drawn,
// so that it never flashes in the wrong theme.
(() => {
  "use strict";
  const THEMES = ["auto", "light", "dark"];
  const KEY = "theme";

  // Storage can be switched off, and then throws.
  function load() {
    try {
      const theme = localStorage.getItem(KEY);
      return THEMES.includes(theme) ? theme : "auto";
    } catch {
      return "auto";
    }
  }

  function save(theme) {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // The choice then lasts as long as the page.
    }
  }

  function show(theme) {
    document.documentElement.dataset.theme = theme;
  }

  let current = load();
  show(current);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-toggle]");
    const label = document.querySelector("[data-theme-label]");

    function describe() {
      label.textContent = `Theme: ${current}`;
      button.title = label.textContent;
    }

    button.hidden = false;
    describe();
    button.addEventListener("click", () => {
      current = THEMES[(THEMES.indexOf(current) + 1) % THEMES.length];
      save(current);
      show(current);
      describe();
    });
  });
})();
