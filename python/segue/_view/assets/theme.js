// Light or dark: as the reader's system, until the reader chooses. Not a module: it runs before anything is drawn.
(() => {
  const asked = matchMedia("(prefers-color-scheme: dark)");
  const key = "segue-theme";
  const chosen = () => localStorage.getItem(key);
  const apply = () => {
    document.documentElement.dataset.theme = chosen() ?? (asked.matches ? "dark" : "light");
    dispatchEvent(new Event("themechange"));
  };
  asked.addEventListener("change", apply);
  window.segueTheme = {
    toggle() {
      const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      // The system's own is no choice: it goes on following it.
      if (next === (asked.matches ? "dark" : "light")) localStorage.removeItem(key);
      else localStorage.setItem(key, next);
      apply();
    },
  };
  apply();
})();
