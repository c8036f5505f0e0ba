// What the workspace may request, uses and is charged.

import { $, date, dateAndTime, element, hint, kindOf, KINDS, link, money, tag, words } from "./dom.js";
import { call } from "./requests.js";

const REASONS = { subscription_create: "Subscription", subscription_cycle: "Renewal", manual: "Line" };

let allowance = null;

export async function showPanels({ apiKey, workspaceId }) {
  const get = (path) => call("GET", path, { apiKey, quiet: true });
  const [allowed, inUse, charges] = await Promise.all([
    get("/api/allowance"),
    get("/api/lines/by-user"),
    get(`/_local/workspaces/${workspaceId}/charges`),
  ]);
  allowance = allowed.ok ? allowed.answer : null;
  showIf(allowed, "#allowance", () => rows("#allowance ul", Object.entries(allowance.kinds).map(allowanceRow)));
  showIf(inUse, "#in-use", () => rows("#in-use ul", inUse.answer.lines.map(lineRow)));
  showIf(charges, "#charges", () => showCharges(charges.answer));
}

/** Say what the line in the form would cost, before it is requested. */
export function showPrice(fields) {
  const kind = allowance?.kinds[kindOf(fields)];
  $("#price").hidden = !kind;
  if (!kind) return;
  $("#price").className = `price ${kind.next}`;
  $("#price").textContent = {
    included: () => "The plan includes this line. It starts at once.",
    payable: () => `${first(kind.addOn)} now, then ${recurring(kind.addOn)}. It starts when it is paid.`,
    locked: () => "Another request awaits payment. Pay or cancel it first.",
    forbidden: () =>
      kind.included || kind.addOn ? "The plan allows no more of these lines." : "The plan does not offer this line.",
  }[kind.next]();
}

const first = ({ firstCharge, currency }) => money(firstCharge, currency);
// An interval is "month" or "3 months".
const recurring = ({ unitAmount, currency, interval }) =>
  `${money(unitAmount, currency)} ${/^\d/.test(interval) ? "every" : "a"} ${interval}`;

function showIf({ ok }, selector, show) {
  $(selector).hidden = !ok;
  if (ok) show();
}

function rows(selector, items) {
  $(selector).replaceChildren(...(items.length ? items : [element("li", {}, hint("None."))]));
}

const row = (left, right, note) =>
  element("li", {}, element("span", {}, left), element("span", { className: "amount" }, right), note && hint(note));

function allowanceRow([kind, { included, used, held, cap, next, addOn }]) {
  const limit = cap === null ? null : `at most ${cap}`;
  const notes = [`${held} held`, limit, addOn && `each further one ${recurring(addOn)}`];
  const amount = element("span", {}, `${used} of ${included} used `, tag(next));
  return row(KINDS[kind], amount, notes.filter(Boolean).join(" · "));
}

function lineRow(line) {
  const since = `${KINDS[kindOf(line)]} · since ${dateAndTime(line.createdAt)}`;
  const name = `${line.firstName} ${line.lastName}`;
  return row(name, line.phone ?? line.email ?? words(line.provisioningStatus), since);
}

function showCharges({ subscription, pending, invoices }) {
  rows("#subscription", (subscription?.items.data ?? []).map((item) => itemRow(item, subscription.currency)));
  rows("#pending", pending.map(({ description, amount, currency }) => row(description, money(amount, currency))));
  rows("#invoices", invoices.map(invoiceRow));
}

function itemRow({ price, quantity, current_period_end: end }, currency) {
  const { interval: unit, interval_count: count } = price.recurring;
  const interval = count === 1 ? unit : `${count} ${unit}s`;
  const { unit_amount: unitAmount } = price.currency === currency ? price : price.currency_options[currency];
  const amount = `${quantity} × ${recurring({ unitAmount, currency, interval })}`;
  return row(price.product.name, amount, `until ${date(end)}`);
}

function invoiceRow({ billing_reason: reason, created, status, total, currency, hosted_invoice_url: url, lines }) {
  const amount = element("span", {}, `${money(total, currency)} `, tag(status));
  const what = lines.data.map(({ description }) => description).join(", ");
  const name = REASONS[reason] ?? words(reason);
  return row(url ? link(url, `${name} ↗`) : name, amount, `${date(created)} · ${what}`);
}
