// Requests one line, shows where to pay for it, and waits until it is active. Needs Node 22.18 or later, or tsx.
//
//   export API=http://127.0.0.1:3000 AUTH='Authorization: Bearer tuco_…'    # `make run` prints both
//   node examples/quickstart/quickstart.ts '{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}'

export {};

declare const process: { argv: string[]; env: Record<string, string | undefined>; exit(code: number): never };

type Line = { _id: string; paymentLinkUrl?: string | null };
type Status = "awaiting_payment" | "provisioning" | "active" | "failed" | "canceled";
type LineState = { status: Status; paymentStatus?: string; paymentUrl?: string | null; line: Line };
type ApiReply =
  | { http: 200 | 201; body: LineState }
  | { http: 400 | 401 | 404 | 413; body: { error?: string } }
  | { http: 403; body: { status: "subscription_required"; message: string; redirect: string } }
  | { http: 403; body: { status: "forbidden_line_type"; message: string } }
  | { http: 409; body: { message: string; existingLine: Line } }
  | { http: 429 | 500 | 503 | 0; body: unknown }
  | { http: 502; body: { error?: string } };
type Reply = ApiReply & { waitS: number };
type Created = { http: 200 | 201; body: LineState; waitS: number };

const api = process.env["API"] || stop("Set API.");
const auth = process.env["AUTH"] || stop("Set AUTH.");
if (!auth.includes(": ")) stop("AUTH must be a header: 'Authorization: Bearer' and an API key.");
const deadline = Date.now() + 1000 * Number(process.env["GIVE_UP_AFTER_S"] ?? "600");

/** Returns status, body and the seconds to wait; the status is 0 and the body {} if there was none. */
async function call(
  method: "GET" | "POST",
  path: string,
  headers: Record<string, string> = {},
  body: string | null = null,
): Promise<Reply> {
  const [name = "", value = ""] = auth.split(": ");
  try {
    const signal = AbortSignal.timeout(35_000);
    const response = await fetch(api + path, { method, headers: { ...headers, [name]: value }, body, signal });
    const waitS = Number(response.headers.get("Retry-After")) || 2;
    // A proxy's error page is not JSON. The API's bodies are described in openapi.yaml.
    const parsed = (await response.json().catch(() => null)) ?? {};
    return { http: response.status, body: parsed, waitS } as Reply;
  } catch {
    return { http: 0, body: {}, waitS: 2 };
  }
}

/** Sleeps as long as the server asks for, 2 seconds if it does not say. */
async function wait(seconds: number, state: string, key: string): Promise<void> {
  if (Date.now() > deadline) stop(`Still ${state} after a long wait. Run this again with KEY=${key}.`);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

function stop(message: string): never {
  console.error(message);
  process.exit(1);
}

/** Requests the line until there is a final response; returns the 201. */
async function create(line: string, key: string): Promise<Created> {
  for (;;) {
    const reply = await call("POST", "/api/line-requests", { "Idempotency-Key": key }, line);
    switch (reply.http) {
      case 201:
        if (reply.body.line) return reply;
        break;
      case 400:
        if (reply.body.error) return stop(`Fix the request: ${reply.body.error}`);
        break;
      case 401:
        return stop("The API key is missing, unknown, expired or revoked. Check AUTH.");
      case 403:
        if (reply.body.status === "subscription_required") {
          return stop(`${reply.body.message} Subscribe at ${reply.body.redirect}.`);
        }
        if (reply.body.status) return stop(reply.body.message);
        break;
      case 404:
        return stop("There is no such path. Check API.");
      case 409: {
        const { message, existingLine: holder } = reply.body;
        if (!holder) break;
        const url = holder.paymentLinkUrl;
        const pay = url ? `Pay at ${url}` : `Read ${holder._id} again for its payment link`;
        return stop(`${message} ${pay} or cancel ${holder._id}, then run this again.`);
      }
      case 413:
        return stop("The line is too large. Send at most 64 KiB.");
      case 502:
        if (reply.body.error !== undefined) {
          return stop(`${reply.body.error} Nothing is charged. An operator has to fix this in Stripe.`);
        }
    }
    // 429, 500, 503, a proxy's error or no whole response. The same key never makes a second line.
    await wait(reply.waitS, `without a response (${reply.http})`, key);
  }
}

/** Polls until the line is active; shows where to pay when that is due. */
async function follow(created: Created, key: string): Promise<void> {
  const id = created.body.line._id;
  let reply: Reply = created;
  let shown: string | null = null;
  for (;;) {
    let state = "without a response";
    if ((reply.http === 200 || reply.http === 201) && reply.body.status) {
      const { status, paymentStatus, paymentUrl } = reply.body;
      state = status;
      switch (status) {
        case "active":
          return console.log(`Line ${id} is active.`);
        case "failed":
          return stop(
            `Line ${id} could not be provisioned. The operator retries or releases it, and refunds what was paid.`,
          );
        case "canceled": {
          const free = paymentStatus === "canceled" ? " Nothing will be charged." : "";
          return stop(`Line request ${id} was canceled.${free} Request the line again with a new key.`);
        }
      }
      if (paymentUrl && paymentUrl !== shown) {
        console.log(`Pay here: ${paymentUrl}`);
        shown = paymentUrl;
      }
    }
    await wait(reply.waitS, state, key);
    reply = await call("GET", `/api/line-requests/${id}`);
    if (reply.http === 401 || reply.http === 404) {
      return stop(`Line request ${id} cannot be read with this API key (${reply.http}).`);
    }
  }
}

async function main(): Promise<void> {
  const line = process.argv[2] ?? '{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}';
  // One key for one line. Save it before the first call, so that every retry uses the same key.
  const key = process.env["KEY"] || crypto.randomUUID();
  console.error(`Idempotency key: ${key}`);
  await follow(await create(line, key), key);
}

void main();
