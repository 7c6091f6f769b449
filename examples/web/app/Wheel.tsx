const SPOKES = [0, 45, 90, 135];
const BUCKETS = Array.from({ length: 16 }, (_, index) => index * 22.5);

/** A mill wheel. It turns while something comes. */
export function Wheel({ isTurning }: { readonly isTurning: boolean }) {
  return (
    <svg className="wheel" data-turning={isTurning} viewBox="-50 -50 100 100" aria-hidden="true">
      <circle r="46" />
      <circle r="34" />
      {SPOKES.map((degrees) => (
        <path key={degrees} d="M0 -34V34" transform={`rotate(${String(degrees)})`} />
      ))}
      {BUCKETS.map((degrees) => (
        <path key={degrees} d="M0 -34L7 -45.5" transform={`rotate(${String(degrees)})`} />
      ))}
      <circle className="hub" r="5" />
    </svg>
  );
}
