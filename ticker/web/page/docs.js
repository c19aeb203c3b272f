// Shows /openapi.json, and lets each question be asked. Everything comes from this server, and goes in as text.

const SHOWN_CHARACTERS = 20_000;

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const code = (text) => make("code", {}, text);

/** Prose with `code` in it; of a link, its words. */
function prose(text) {
  const plain = text.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  return plain.split("`").map((part, i) => (i % 2 ? code(part) : part));
}

function resolver(spec) {
  return (node) => {
    let found = node;
    while (found?.$ref) found = found.$ref.slice(2).split("/").reduce((at, key) => at[key], spec);
    return found ?? {};
  };
}

/** What a schema allows, in a few words. */
function allowed(schema, resolve) {
  const found = resolve(schema);
  if (found.anyOf) return found.anyOf.map((one) => allowed(one, resolve)).join(" or ");
  if (found.enum) return found.enum.join(" ");
  if (found.format === "date" || found.format === "date-time") return found.format;
  if (found.minimum !== undefined && found.maximum !== undefined) return `${found.minimum} to ${found.maximum}`;
  return found.type ?? "anything";
}

function field(parameter, id, resolve) {
  const schema = resolve(parameter.schema);
  const attributes = { id, name: parameter.name, "data-in": parameter.in };
  if (schema.enum) {
    const none = make("option", { value: "" }, schema.default === undefined ? "" : `(${schema.default})`);
    return make("select", attributes, none, ...schema.enum.map((word) => make("option", { value: word }, word)));
  }
  const input = make("input", { ...attributes, placeholder: String(schema.default ?? parameter.example ?? "") });
  if (parameter.required) {
    input.required = true;
    input.value = parameter.example ?? "";
  }
  return input;
}

function line(parameter, id, resolve) {
  const name = make("label", { for: id }, code(parameter.name), parameter.required ? " (needed)" : "");
  const what = [...prose(parameter.description ?? ""), " ", code(allowed(parameter.schema, resolve))];
  const about = make("p", { id: `${id}-about` }, ...what);
  const input = field(parameter, id, resolve);
  input.setAttribute("aria-describedby", about.id);
  return make("div", { class: "field" }, name, input, about);
}

function address(path, form) {
  const query = new URLSearchParams();
  let target = path;
  for (const input of form.querySelectorAll("[data-in]")) {
    if (input.dataset.in === "path") target = target.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.dataset.in === "query" && input.value !== "") query.set(input.name, input.value);
  }
  return query.size ? `${target}?${query}` : target;
}

function readable(text, type) {
  if (/json/.test(type)) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }
  return text;
}

async function ask(path, form, shown) {
  const target = address(path, form);
  const headers = {};
  for (const input of form.querySelectorAll('[data-in="header"]')) if (input.value) headers[input.name] = input.value;
  try {
    const answer = await fetch(target, { headers });
    const type = answer.headers.get("Content-Type") ?? "";
    const binary = /arrow/.test(type);
    const body = binary ? `${(await answer.arrayBuffer()).byteLength} bytes` : readable(await answer.text(), type);
    const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const cut = body.length > SHOWN_CHARACTERS ? `${body.slice(0, SHOWN_CHARACTERS)}\n... cut here` : body;
    const curl = `curl '${new URL(target, location.href)}'`;
    shown.textContent = `${curl}\n\n${answer.status} ${answer.statusText}\n${lines}\n\n${cut}`;
  } catch (error) {
    shown.textContent = `GET ${target}\n\nno answer: ${error.message}`;
  }
}

/** The fields of a schema, as a list in a list. */
function fields(schema, resolve) {
  const found = resolve(schema);
  if (!found.properties) {
    const inner = found.anyOf ?? [found.items, found.additionalProperties];
    return inner.filter(Boolean).flatMap((one) => fields(one, resolve));
  }
  const items = Object.entries(found.properties).map(([name, one]) => {
    const what = resolve(one).description ?? resolve(resolve(one).anyOf?.[0])?.description ?? "";
    const codes = (resolve(one).oneOf ?? []).map((each) => make("li", {}, code(each.const), ` ${each.description}`));
    const more = codes.length ? [make("ul", {}, ...codes)] : fields(one, resolve);
    const absent = found.required?.includes(name) ? "" : ", may be absent";
    return make("li", {}, code(name), ` ${kind(one, resolve)}${absent}. `, ...prose(what), ...more);
  });
  return [make("ul", {}, ...items)];
}

/** A schema's type, in a word or two. */
function kind(schema, resolve) {
  const found = resolve(schema);
  if (found.anyOf) return found.anyOf.map((one) => kind(one, resolve)).join(" or ");
  return found.type === "array" ? "list" : (found.type ?? "anything");
}

function example(type, { example: only, examples = {} }) {
  const shown = only === undefined ? Object.values(examples).map((one) => one.value) : [only];
  const texts = shown.map((one) => (typeof one === "string" ? one : JSON.stringify(one, null, 2)));
  if (!texts.length) return make("p", {}, code(type));
  return fold(["Example, ", code(type)], ...texts.map((text) => make("pre", { tabindex: "0" }, text)));
}

const fold = (title, ...children) => make("details", {}, make("summary", {}, ...title), ...children);

function answer([status, response], resolve) {
  const headers = Object.entries(response.headers ?? {}).map(([name, one]) =>
    make("li", {}, code(name), " ", ...prose(resolve(one).description)),
  );
  const content = Object.entries(response.content ?? {});
  const parts = content.map(([type, one]) => example(type, one));
  if (headers.length) parts.push(fold(["Headers"], make("ul", {}, ...headers)));
  if (content[0]?.[1].schema) parts.push(fold(["Fields, ", code(content[0][0])], ...fields(content[0][1].schema, resolve)));
  return make("div", { class: "answer" }, make("h4", {}, status), make("p", {}, ...prose(response.description)), ...parts);
}

function section(path, operation, resolve) {
  const id = operation.operationId;
  const lines = (operation.parameters ?? []).map((one) => line(resolve(one), `${id}-${one.name}`, resolve));
  const shown = make("pre", { tabindex: "0", role: "status", "aria-label": `Answer of ${path}`, hidden: "" });
  const form = make("form", {}, ...lines, make("button", { "aria-label": `Ask ${path}` }, "Ask"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    shown.hidden = false;
    ask(path, form, shown);
  });
  const told = Object.entries(operation.responses).map((one) => answer(one, resolve));
  const title = make("h2", { id: `${id}-title` }, code(`GET ${path}`));
  const head = [title, make("p", {}, ...prose(operation.summary))];
  return make("section", { id, "aria-labelledby": title.id }, ...head, form, shown, make("h3", {}, "Answers"), ...told);
}

async function show() {
  const about = document.getElementById("about");
  try {
    const answer = await fetch("/openapi.json");
    const spec = await answer.json();
    const resolve = resolver(spec);
    for (const [path, { get }] of Object.entries(spec.paths)) {
      const link = make("a", { href: `#${get.operationId}` }, code(path));
      document.getElementById("contents").append(make("li", {}, link));
      document.getElementById("operations").append(section(path, get, resolve));
    }
    about.replaceChildren(`Version ${spec.info.version}. `, ...prose(spec.info.description));
    // What the address names was not there when the page was opened.
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    about.textContent = `/openapi.json cannot be read: ${error.message}`;
  }
}

show();
