/** Small panels that open below their button; the browser closes them on Escape or a click elsewhere, and gives back the focus. */

import { setAttribute } from "./dom";

const GAP_PX = 4;
const EDGE_PX = 8;

/** The element is a popover that the button names as its target; `opens` is called before it shows. */
export function below(button: HTMLElement, panel: HTMLElement, opens: () => void): void {
  panel.addEventListener("beforetoggle", (event) => {
    const isOpen = (event as ToggleEvent).newState === "open";
    setAttribute(button, "aria-expanded", String(isOpen));
    if (isOpen) opens();
  });
  panel.addEventListener("toggle", (event) => {
    if ((event as ToggleEvent).newState === "open") place(button, panel);
  });
  addEventListener("resize", () => panel.matches(":popover-open") && place(button, panel));
  setAttribute(button, "aria-expanded", "false");
}

function place(button: HTMLElement, panel: HTMLElement): void {
  const box = button.getBoundingClientRect();
  const right = Math.min(box.left, innerWidth - panel.offsetWidth - EDGE_PX);
  panel.style.left = `${Math.max(EDGE_PX, right)}px`;
  panel.style.top = `${Math.min(box.bottom + GAP_PX, Math.max(EDGE_PX, innerHeight - panel.offsetHeight - EDGE_PX))}px`;
}
