import { useState, useSyncExternalStore } from 'react';

type Theme = '' | 'light' | 'dark';

/** Dark or light: as the system has it, until somebody says otherwise. */
export function ThemeToggle() {
  const [theme, setTheme] = useState<Theme>(() => (localStorage.getItem('theme') ?? '') as Theme); // only written below
  const prefersDark = usePrefersDark();
  const isDark = theme === '' ? prefersDark : theme === 'dark';
  const toggle = () => {
    const next = isDark ? 'light' : 'dark';
    localStorage.setItem('theme', next);
    document.documentElement.dataset['theme'] = next;
    setTheme(next);
  };
  return (
    <button
      type="button"
      className="icon-button theme"
      aria-label="Dark colours"
      aria-pressed={isDark}
      onClick={toggle}
    >
      <svg viewBox="0 0 24 24" aria-hidden="true">
        {isDark ? (
          <path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z" />
        ) : (
          <path d="M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5" />
        )}
      </svg>
    </button>
  );
}

const dark = matchMedia('(prefers-color-scheme: dark)');

function usePrefersDark(): boolean {
  return useSyncExternalStore(
    (onChange) => {
      dark.addEventListener('change', onChange);
      return () => {
        dark.removeEventListener('change', onChange);
      };
    },
    () => dark.matches,
  );
}
