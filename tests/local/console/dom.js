// What every part of the page uses to read, make and word elements.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

export const tag = (status) => element("span", { className: `tag ${status}`, textContent: words(status) });
export const hint = (textContent) => element("span", { className: "hint", textContent });
export const link = (href, textContent, className = "") =>
  element("a", { href, textContent, className, target: "_blank", rel: "noopener" });

export function button(textContent, action) {
  const onclick = ({ currentTarget }) => whileBusy([currentTarget], action);
  return element("button", { type: "button", textContent, onclick });
}

/** Act unless one of the buttons is busy. The attribute `disabled` would take the focus from a busy button. */
export async function whileBusy(buttons, act) {
  if (buttons.some((each) => each.ariaDisabled === "true")) return;
  for (const each of buttons) each.ariaDisabled = "true";
  try {
    await act();
  } finally {
    for (const each of buttons) each.ariaDisabled = null;
  }
}

export const words = (code) => code.replaceAll("_", " ");

export const KINDS = { purchased_phone: "Purchased phone", byon_phone: "Own number", email: "Email" };
export const kindOf = ({ channelType, lineType }) => (channelType === "email" ? "email" : `${lineType}_phone`);

export function money(amount, currency) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium" });
const DATE_AND_TIME = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
export const date = (seconds) => DATE.format(seconds * 1000);
export const dateAndTime = (value) => DATE_AND_TIME.format(new Date(value));
