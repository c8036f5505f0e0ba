// What both TypeScript stories use. The first argument is the API's origin, the second a workspace's API key.
declare const process: { argv: string[] };

const [origin, apiKey] = process.argv.slice(2);
export const API = origin ?? "";
export const HEADERS = { Authorization: `Bearer ${apiKey}` };
export const PHONE = { firstName: "Ada", lastName: "Lovelace", channelType: "phone" } as const;

export function check(holds: boolean, otherwise: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(otherwise));
}

export async function pay(url: string): Promise<void> {
  const page = await fetch(`${url}/pay`, { method: "POST" });
  check(page.ok, page.status);
}

/** Polls for at most half a minute: one poll of a line in a few seconds asks Stripe. */
export async function poll<T>(get: () => Promise<T>, isDone: (got: T) => boolean): Promise<T> {
  for (let left = 60; ; left--) {
    const got = await get();
    if (isDone(got) || left === 0) return got;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
