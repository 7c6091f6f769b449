import { type KeyboardEvent, useRef } from 'react';

interface TabsProps<Id extends string> {
  readonly tabs: readonly { readonly id: Id; readonly label: string }[];
  readonly shown: Id;
  /** Tabs whose panel has something going on. */
  readonly busy: ReadonlySet<Id>;
  readonly onShow: (id: Id) => void;
}

/** Tabs as the ARIA patterns have them: one stop of the Tab key, and arrow keys between them. */
export function Tabs<Id extends string>({ tabs, shown, busy, onShow }: TabsProps<Id>) {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const at = tabs.findIndex(({ id }) => id === shown);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs.at(to % tabs.length);
    if (next === undefined) return;
    onShow(next.id);
    list.current?.querySelector<HTMLElement>(`#tab-${next.id}`)?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label="What to look at" ref={list} onKeyDown={onKeyDown}>
      {tabs.map(({ id, label }) => (
        <button
          key={id}
          id={`tab-${id}`}
          type="button"
          role="tab"
          aria-selected={id === shown}
          aria-controls={`panel-${id}`}
          tabIndex={id === shown ? 0 : -1}
          onClick={() => {
            onShow(id);
          }}
        >
          {label}
          {busy.has(id) && (
            <span className="drop">
              <span className="visually-hidden"> (running)</span>
            </span>
          )}
        </button>
      ))}
    </div>
  );
}
