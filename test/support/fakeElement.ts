import type { PageElement } from '../../src/sinks/toElement.js';

/** The little of a text node that is used. */
export class FakeText {
  data: string;
  parentNode: FakeElement | null = null;

  constructor(data: string) {
    this.data = data;
  }

  get length(): number {
    return this.data.length;
  }

  appendData(text: string): void {
    this.data += text;
    this.parentNode?.onChange();
  }

  deleteData(at: number, count: number): void {
    if (at > this.length) throw new RangeError('IndexSizeError: past the end of the text');
    this.data = this.data.slice(0, at) + this.data.slice(at + count);
    this.parentNode?.onChange();
  }

  after(node: FakeText): void {
    this.parentNode?.insert(node, this.parentNode.childNodes.indexOf(this) + 1);
  }

  remove(): void {
    const { parentNode } = this;
    if (parentNode === null) return;
    this.parentNode = null;
    parentNode.childNodes.splice(parentNode.childNodes.indexOf(this), 1);
    parentNode.onChange();
  }
}

/** The little of an element that is used: no layout, no page around it. */
export class FakeElement implements PageElement {
  readonly nodeType = 1;
  readonly localName: string;
  readonly parentElement: FakeElement | null;
  readonly isConnected = false;
  readonly assignedSlot = null;
  readonly page = new EventTarget();
  readonly ownerDocument = { defaultView: this.page, createTextNode: (data: string): FakeText => new FakeText(data) };
  readonly childNodes: FakeText[] = [];
  readonly attributes: Map<string, string> = new Map();
  /** Hears of every change of its text. */
  onChange: () => void = () => undefined;

  constructor(
    localName = 'p',
    attributes: Readonly<Record<string, string>> = {},
    parentElement: FakeElement | null = null,
  ) {
    this.localName = localName;
    this.parentElement = parentElement;
    for (const [name, value] of Object.entries(attributes)) this.attributes.set(name, value);
  }

  get textContent(): string {
    return this.childNodes.map(({ data }) => data).join('');
  }

  append(...nodes: (FakeText | string)[]): void {
    for (const node of nodes) this.insert(typeof node === 'string' ? new FakeText(node) : node, this.childNodes.length);
  }

  replaceChildren(...nodes: (FakeText | string)[]): void {
    for (const node of this.childNodes.splice(0)) node.parentNode = null;
    this.append(...nodes);
  }

  insert(node: FakeText, at: number): void {
    node.parentNode = this;
    this.childNodes.splice(at, 0, node);
    this.onChange();
  }

  hasAttribute(name: string): boolean {
    return this.attributes.has(name);
  }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }

  getRootNode(): FakeElement {
    return this.parentElement?.getRootNode() ?? this;
  }

  /** Knows selectors of a name, of an attribute, and of a word in an attribute. */
  matches(selectors: string): boolean {
    return selectors.split(',').some((selector) => {
      const [, attribute, word] = /^\[([\w-]+)(?:~="(\w+)")?\]$/.exec(selector) ?? [];
      if (attribute === undefined) return selector === this.localName;
      const value = this.attributes.get(attribute);
      return value !== undefined && (word === undefined || value.split(' ').includes(word));
    });
  }
}
