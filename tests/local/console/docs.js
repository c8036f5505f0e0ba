// The API reference: Swagger UI on /openapi.json, with the key of a demo workspace filled in.

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.onchange = follow;
follow();

const state = await (await fetch("/_local/state")).json();
const remembered = localStorage.getItem("workspace"); // the console's choice
const workspace = state.workspaces.find(({ workspaceId }) => workspaceId === remembered) ?? state.workspaces[0];

const reference = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  onComplete: () => {
    reference.preauthorizeApiKey("bearer", workspace.apiKey);
    const caller = `“Execute” calls this stack as the workspace ${workspace.workspaceId}.`;
    document.querySelector("#workspace").textContent = caller;
  },
});
