import { Fragment, memo } from 'react';

/**
 * A model's text as paragraphs, lists and emphasis: a handful of Markdown, made into elements. What it does not know stays text, and
 * nothing in it can become markup.
 */
export function Prose({ text }: { readonly text: string }) {
  const blocks = text.trim().split(/\n{2,}/);
  return (
    <div className="prose">
      {/* Blocks only grow at the end, so their place is their name. */}
      {blocks.map((block, index) => (
        <Block key={index} text={block} />
      ))}
    </div>
  );
}

/** Those that are whole are not looked at again while the last one grows. */
const Block = memo(function Block({ text }: { readonly text: string }) {
  if (!text.startsWith('- ')) {
    return (
      <p>
        <Inline text={text} />
      </p>
    );
  }
  return (
    <ul>
      {text.split(/\n(?=- )/).map((item, index) => (
        <li key={index}>
          <Inline text={item.slice(2)} />
        </li>
      ))}
    </ul>
  );
});

function Inline({ text }: { readonly text: string }) {
  return text.split(/(\*\*[^*]+\*\*|\*[^*]+\*)/).map((part, index) => {
    if (part.length > 4 && part.startsWith('**')) return <strong key={index}>{part.slice(2, -2)}</strong>;
    if (part.length > 2 && part.startsWith('*') && part.endsWith('*')) return <em key={index}>{part.slice(1, -1)}</em>;
    return <Fragment key={index}>{part}</Fragment>;
  });
}
