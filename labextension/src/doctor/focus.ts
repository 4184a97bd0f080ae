import * as React from 'react';

/** The heading of the repair that goes on. */
const FIRST = '.gpucamp-Repair h2';

/**
 * Keeps the focus in `root` when what has it is taken away (a button that did its work, a finding that is gone): it
 * goes to the heading of its part, from where Tab leads on, instead of to the top of the page. What was gone from a
 * list went because of the repair, where there is one, so its heading comes before the panel's.
 */
export function useKeptFocus(root: React.RefObject<HTMLElement | null>): void {
  React.useEffect(() => {
    const node = root.current;
    if (!node) {
      return undefined;
    }
    let last: { element: Element; part: Element | null } | null = null;
    const remember = ({ target }: FocusEvent): void => {
      if (target instanceof Element) {
        last = { element: target, part: target.closest('section') };
      }
    };
    const forget = ({ target }: FocusEvent): void => {
      // A browser may tell it of an element that is being removed, too.
      queueMicrotask(() => {
        if (target instanceof Element && target.isConnected && last?.element === target) {
          last = null;
        }
      });
    };
    const removed = new MutationObserver(() => {
      if (!last || last.element.isConnected) {
        return;
      }
      const { part } = last;
      last = null;
      const { activeElement } = document;
      if (activeElement === null || activeElement === document.body) {
        const heading =
          (part?.isConnected ? headingOf(part) : null) ??
          (part ? node.querySelector<HTMLElement>(FIRST) : null) ??
          headingOf(node);
        heading?.setAttribute('tabindex', '-1');
        heading?.focus();
      }
    });
    node.addEventListener('focusin', remember);
    node.addEventListener('focusout', forget);
    removed.observe(node, { childList: true, subtree: true });
    return () => {
      node.removeEventListener('focusin', remember);
      node.removeEventListener('focusout', forget);
      removed.disconnect();
    };
  }, [root]);
}

/** The first heading that can be seen. */
function headingOf(part: Element): HTMLElement | null {
  return part.querySelector<HTMLElement>(':is(h1, h2):not(.gpucamp-Hidden)');
}
