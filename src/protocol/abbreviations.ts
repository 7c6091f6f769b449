/**
 * What a full stop after a word means. `never`: no sentence ends here. `beforeDigit`: none ends where a digit follows.
 * `beforeStarter`: one ends only where a word follows that often begins a sentence. `plain`: it is no abbreviation.
 */
export type StopClass = 'never' | 'beforeDigit' | 'beforeStarter' | 'plain';

/** Looks an abbreviation up: lower case, without its last stop, its parts joined by one stop (`z.b`). */
export type Abbreviations = ReadonlyMap<string, StopClass>;

// Written without the last stop. One that ends a list (`etc.`, `usw.`) needs no entry: the case of the next word tells.

const NEVER = `
dr dra drs mr mrs mme mmes mlle mlles prof profa messrs e.g eg i.e vs cf viz approx a.k.a p.s n.b
hr hrn dipl z.b zb d.h u.u bzw ggf evtl inkl exkl zzgl vgl sog insb insbes i.d.r z.zt z.t v.a b.a o.g s.o s.u m.e
p.ex av sr sra srta sres dña ud uds vd vds p.ej pág págs núm aprox lic
sig sigg dott avv egr gent spett p.es ad.es
exmo exma ilmo
dhr mevr mw bijv d.w.z m.b.t i.v.m t.a.v
т.е т.к т.н т.о напр проф акад доц ул просп пер пл
вул ім стор
π.χ δηλ βλ κα κκ κος δρ καθ αγ οδ
np tj tzn m.in mgr inż św ks ul např tzv mj popř resp
t.ex bl.a dvs s.k f.eks esim örn doç bkz ifj
डॉ प्रो श्री श्रीमती कु पं स्व
د.م أ.د ص.ب`;

const BEFORE_DIGIT = `
no nos nr nrs ver fig figs eq eqs sec secs ch chap vol vols pp art arts abb abs bd kap tab tel ex par cap lib num pos pag pagg
jan feb mar jun jul aug sep sept oct okt nov dec dez déc janv févr juil ene ago dic
č str kl klo blz
стр рис табл гл ст пп тел кв корп янв февр апр авг сент окт нояб дек
αρ σελ κεφ τηλ
सं ई`;

const BEFORE_STARTER = `
ms mx rev hon gen gral col lt sgt capt cmdr gov sen rep pres mgr mt dept al ca
st ste ft jr inc ltd co corp bros assn ave blvd rd llc ltda cia cía plc gmbh apr
a.m p.m u.s u.s.a u.k u.n d.c ph.d oz lb lbs sq min max mm
mio mrd tsd jh jhd std sek aufl hrsg jg mind geb gest verh med v.chr n.chr
ee uu ee.uu ff.aa a.c d.c s.a s.p.a s.r.l
г гг в вв р руб коп тыс млн млрд н.э гр им пос см св обл изд ред тис
μ.χ εκατ δισ χιλ
tys mln mld zł`;

/** Made of single letters, and yet no initials. */
const PLAIN = 'т.д т.п v.v m.m m.fl o.s.v a.s.o u.ä и.я';

/** By language: words that would be ordinary ones elsewhere. */
const OWN: Readonly<Record<string, Partial<Record<'never' | 'beforeStarter', string>>>> = {
  de: { never: 'art fr ing' },
  en: { beforeStarter: 'mon tue wed thu fri sat' },
  es: { never: 'sta sto' },
  fr: { never: 'bd env' },
  it: { never: 'on es ing arch' },
  nl: { never: 'ir mr' },
  pl: { never: 'im ok pl al' },
  hu: { never: 'pl kb' },
  hi: { never: 'ए बी सी डी एफ एच जे के एल एम एन ओ आर एस टी वी यू' },
};

/** Words that often begin a sentence and are no part of a name. */
const STARTERS = new Set(
  `
the a an this that these those it he she they we you his her its their our my your there here then but and so yet
however if when while after before because although though at for from with as to what who why how where not yes
all some many most each every both first second next finally also now still thus therefore once since until unless
despite even just let please meanwhile otherwise instead moreover according another such only in on nobody everybody everyone someone people later soon maybe perhaps
der die das ein eine es er sie wir ihr ich du dies diese dieser dieses dann aber und doch wenn als nach vor im am auf bei
mit für von zu wer wie warum nein ja auch nur noch nun dort danach deshalb daher trotzdem außerdem jedoch sein seine
les un une des il elle ils elles nous vous je tu ce cet cette ces mais et donc puis ensuite si quand dans pour avec sur
après avant cela ça leur leurs c’est c'est on
los las una unos unas él ella ellos ellas yo nosotros este esta estos estas eso pero y luego después cuando en con por
para también sin entonces según
gli uno lui lei loro noi questo questa questi queste quello quella ma poi quando con per anche dopo prima così quindi
os uma ele eles nós esse essa isto mas depois também então porém
het een zij wij jij hij deze dit maar en daarna toen ook als voor na
он она оно они мы вы я ты это этот эта эти тот но и а потом затем когда если после до там здесь так что как его её их
в на с по для при однако также поэтому
він вона вони ми ви це але потім
ο η το οι τα ένας μια αυτός αυτή αυτό αλλά και μετά όταν αν στο στη στην για με από
on ona oni one ono my wy to ten ta te ale potem gdy
`
    .trim()
    .split(/\s+/),
);

/** A German date that begins with its day. Lower-case languages need none. */
const MONTHS = new Set(
  'januar jänner februar feber märz april mai juni juli august september oktober november dezember'.split(' '),
);

/** Languages that write ordinal numbers with a full stop. */
const ORDINAL_LANGUAGES = new Set('de da nb nn no fi et lv cs sk sl hr sr bs hu pl tr is fo'.split(' '));

/** True for a word that often begins a sentence, whatever its case. */
export function isStarter(word: string): boolean {
  return STARTERS.has(word.toLowerCase());
}

/** True for a month's name after a day's ordinal. */
export function isMonth(word: string): boolean {
  return MONTHS.has(word.toLowerCase());
}

/** True where `3.` is how the language writes `3rd`. */
export function writesOrdinalsWithStop(language: string): boolean {
  return ORDINAL_LANGUAGES.has(language);
}

/** An abbreviation as it is looked up. */
export function abbreviationKey(text: string): string {
  return text.trim().toLowerCase().replace(/\.$/u, '').replace(/\.\s*/gu, '.');
}

/**
 * The abbreviations of all languages, and those of `languages` alone that are ordinary words elsewhere.
 * @param added - the caller's own, after which no sentence ends
 */
export function abbreviationsFor(languages: readonly string[], added: readonly string[]): Abbreviations {
  const table = new Map<string, StopClass>();
  const add = (words: string, meaning: StopClass): void => {
    for (const word of words.trim().split(/\s+/)) if (word !== '') table.set(word, meaning);
  };
  add(BEFORE_STARTER, 'beforeStarter');
  add(BEFORE_DIGIT, 'beforeDigit');
  add(NEVER, 'never');
  add(PLAIN, 'plain');
  for (const language of languages) {
    const { never = '', beforeStarter = '' } = OWN[language] ?? {};
    add(beforeStarter, 'beforeStarter');
    add(never, 'never');
  }
  for (const word of added) table.set(abbreviationKey(word), 'never');
  return table;
}
