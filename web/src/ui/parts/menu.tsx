import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { CheckIcon } from './icons';

export interface MenuItem {
  label: string;
  icon?: JSX.Element;
  /** A choice that is on or off; `one`: only one of its group is on. */
  checked?: boolean;
  one?: boolean;
  danger?: boolean;
  pick: () => void;
}

/** Items under a heading, or under none. */
export interface MenuGroup {
  heading?: string;
  items: readonly MenuItem[];
}

interface MenuProps {
  /** Names the button and the menu. */
  name: string;
  class?: string;
  /** What the button shows. */
  children: ComponentChildren;
  groups: () => readonly MenuGroup[];
}

const EDGE_PX = 8;

/** A button with a menu: above everything else, by keyboard as the ARIA practices say; on phones a sheet. */
export function MenuButton({ name, class: classes = '', children, groups }: MenuProps): JSX.Element {
  const open = useSignal(false);
  const button = useRef<HTMLButtonElement>(null);
  const close = (): void => {
    open.value = false;
    button.current?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class={open.value ? `${classes} open` : classes}
        aria-label={name}
        aria-haspopup="menu"
        aria-expanded={open.value}
        onClick={() => {
          open.value = !open.value;
        }}
      >
        {children}
      </button>
      {open.value && <Menu name={name} groups={groups()} anchor={button.current} onClose={close} />}
    </>
  );
}

interface OpenMenuProps {
  name: string;
  groups: readonly MenuGroup[];
  anchor: HTMLElement | null;
  onClose: () => void;
}

function Menu({ name, groups, anchor, onClose }: OpenMenuProps): JSX.Element {
  const element = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const menu = element.current;
    if (menu === null) return;
    // Older browsers lack it; the menu is then where the style sheet puts it.
    menu.showPopover?.();
    if (anchor !== null) place(menu, anchor.getBoundingClientRect());
    menu.querySelector<HTMLElement>('[role^=menuitem]')?.focus();
  }, []);

  useEffect(() => {
    const outside = ({ target }: Event): void => {
      if (!(target instanceof Node) || element.current?.contains(target) || anchor?.contains(target)) return;
      onClose();
    };
    document.addEventListener('pointerdown', outside);
    addEventListener('resize', onClose);
    return () => {
      document.removeEventListener('pointerdown', outside);
      removeEventListener('resize', onClose);
    };
  }, []);

  const move = (event: KeyboardEvent): void => {
    const items = [...(element.current?.querySelectorAll<HTMLElement>('[role^=menuitem]') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) items.at(to % items.length)?.focus();
    else if (event.key !== 'Escape' && event.key !== 'Tab') return;
    else onClose();
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div ref={element} class="menu" role="menu" aria-label={name} popover="manual" onKeyDown={move}>
      {groups.map(({ heading, items }, index) => (
        <div key={index} role="group" aria-label={heading} class="menu-group">
          {heading !== undefined && (
            <p class="menu-heading" aria-hidden="true">
              {heading}
            </p>
          )}
          {items.map(({ label, icon, checked, one, danger, pick }) => (
            <button
              key={label}
              type="button"
              tabIndex={-1}
              class={danger ? 'menu-item danger' : 'menu-item'}
              role={checked === undefined ? 'menuitem' : one ? 'menuitemradio' : 'menuitemcheckbox'}
              {...(checked !== undefined && { 'aria-checked': checked })}
              onClick={() => {
                onClose();
                pick();
              }}
            >
              {icon ?? <span class="menu-check">{checked && <CheckIcon />}</span>}
              <span>{label}</span>
              {icon !== undefined && checked && <CheckIcon />}
            </button>
          ))}
        </div>
      ))}
    </div>
  );
}

/** Beside its button, whole on the page. */
function place(menu: HTMLElement, { left, top, bottom }: DOMRect): void {
  const { width, height } = menu.getBoundingClientRect();
  const x = Math.max(EDGE_PX, Math.min(left, innerWidth - width - EDGE_PX));
  const above = top - height - EDGE_PX;
  const y = above >= EDGE_PX ? above : Math.max(EDGE_PX, Math.min(bottom + EDGE_PX, innerHeight - height - EDGE_PX));
  menu.style.setProperty('--menu-x', `${x}px`);
  menu.style.setProperty('--menu-y', `${y}px`);
}
