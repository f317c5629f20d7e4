/**
 * What people call their rooms, most usual first, without accents: "ä" is both "a" and "ae" here. A guesser tries these
 * before all others. German and English; a word is as good as its place in the list.
 */
export const WORDS: readonly string[] = `
test raum room meeting konferenz video chat oma opa familie family chor yoga verein club schule school klasse class
team gruppe group treffen abend eltern mama papa kinder kids freunde friends party arbeit work projekt project sport
musik music band probe orchester kirche gemeinde jugend senioren kurs deutsch englisch english mathe nachhilfe lernen
stammtisch spieleabend spiele spiel spielen games game kaffee kuchen coffee tee frauen manner maenner damen herren
grosseltern eltern elternabend elternbeirat elternrat elternvertreter elterngesprach elterngespraech sprechstunde
kultur sportverein musikverein gesangverein forderverein foerderverein heimatverein schutzenverein
schuetzenverein turnverein fussballverein gartenverein kleingarten garten vorstand vorstandssitzung sitzung
mitgliederversammlung versammlung besprechung telefonat gesprach gespraech termin call daily weekly standup jourfixe
jour fixe office buro buero homeoffice firma company chef kollegen abteilung it hr vertrieb marketing support service
beratung hilfe info infoabend informationsabend vortrag workshop seminar schulung training webinar vorlesung ubung
uebung uni universitat universitaet hochschule grundschule gymnasium realschule hauptschule gesamtschule oberschule
berufsschule kita kindergarten hort krippe lehrer lehrerin lehrerzimmer konferenzraum klassenzimmer klassentreffen
klassenfahrt abi abitur studium studenten ag lerngruppe arbeitsgruppe arbeitskreis ausschuss rat stadt stadtrat
gemeinderat kirchenvorstand burger buerger verwaltung rathaus bibliothek bucherei buecherei buch buchclub lesekreis
literatur leseabend schach skat doppelkopf doko karten quiz kniffel bingo dnd rollenspiel minecraft gaming zocken
fussball handball volleyball basketball tennis tischtennis turnen gymnastik fitness pilates qigong tanzen tanz tanzkurs
laufen wandern rad radfahren schwimmen reiten judo karate angeln jagd feuerwehr thw drk rotes kreuz awo caritas
diakonie pfadfinder bibel bibelkreis hauskreis gebet andacht gottesdienst konfi konfirmanden messe pfarrer glaube
geburtstag geburtstagsfeier feier fest hochzeit weihnachten weihnachtsfeier ostern silvester advent nikolaus karneval
fasching sommerfest grillen urlaub reise ferien wochenende feierabend bier wein weinprobe kochen backen stricken nahen
naehen handarbeit basteln malen kunst foto fotoclub film kino theater theatergruppe lesung gitarre klavier geige flote
floete trompete schlagzeug singen gesang kinderchor frauenchor mannerchor maennerchor posaunenchor blasorchester
musikschule unterricht stunde arzt praxis therapie selbsthilfe selbsthilfegruppe gesprachskreis gespraechskreis
nachbarn nachbarschaft haus hausgemeinschaft wg mieter eigentumer eigentuemer haushalt wohnung strasse dorf heimat
mein meine unser unsere der die das den dem des ein eine einer und oder von vom zum zur mit fur fuer bei im in am an
auf aus ist wir ihr ich du er sie es the a my our your and of for with at on to from in new neu neue neuer alt alte
alter gross klein kleine gute guter guten beste lieb liebe lieber mini super mega top privat private geheim secret
intern extern offen public online digital virtuell live web zoom jitsi meet plausch skype teams webex server demo
beispiel example probe versuch hallo hello hi moin servus tschuss willkommen welcome guten tag morgen mittag nacht
nachmittag vormittag heute montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag monday tuesday
wednesday thursday friday saturday sunday januar februar marz maerz april mai juni juli august september oktober
november dezember january february march may june july october december fruhling fruehling sommer herbst winter
eins zwei drei vier funf fuenf sechs sieben acht neun zehn one two three four five first second erste zweite dritte
passwort password qwertz qwerty asdf abc xyz admin user gast guest name raumname lieblingsraum warteraum lobby cafe
bar kneipe lounge treff treffpunkt runde kreis club forum netzwerk bund verband partei fraktion cdu spd grune gruene
linke fdp union gewerkschaft betriebsrat personalrat frauenrunde mannerrunde maedels madels madelsabend maedelsabend
jungs jungsabend cousins cousinen geschwister bruder brueder schwester schwestern tante onkel enkel enkelin sohn tochter
vater mutter patchwork schwiegereltern hund katze hunde katzen tiere pferd auto rot blau grun gruen gelb schwarz weiss
sonne mond stern himmel wald berg see meer stein blume rose baum herz liebe gluck glueck freude friede frieden
braunschweig berlin hamburg munchen muenchen koln koeln frankfurt stuttgart dusseldorf duesseldorf leipzig dresden
hannover nurnberg nuernberg bremen essen dortmund bonn munster muenster mannheim augsburg karlsruhe wiesbaden kiel
aachen halle magdeburg freiburg lubeck luebeck erfurt mainz rostock kassel potsdam regensburg wolfsburg gottingen
goettingen heidelberg wurzburg wuerzburg ulm bayern sachsen hessen niedersachsen deutschland germany europa wien zurich
zuerich schweiz osterreich oesterreich london paris
anna maria peter michael thomas andreas stefan christian martin markus alexander sebastian daniel jan tim lukas felix
paul max leon jonas finn ben elias noah luca emil anton karl hans klaus jurgen juergen wolfgang dieter manfred uwe
gunter guenter horst heinz werner gerhard helmut bernd frank ralf jorg joerg oliver matthias tobias florian philipp
david simon moritz jakob johannes julian fabian marco mario monika petra sabine susanne ursula renate karin brigitte
ingrid helga gisela christa elke erika heike andrea claudia birgit martina angelika barbara anja katrin kathrin julia
sandra nicole stefanie melanie katharina sarah laura lisa lena hannah hanna mia emma sophia sofia marie lea leonie
emilia clara klara charlotte johanna luisa louisa amelie greta frieda ida ella mila lina marion elisabeth eva ruth
gabriele gabi silke tanja nadine yvonne jana kerstin simone ulrike ute anke doris rita rosa olga irina natalia ali
mehmet fatma ayse mustafa ahmed mohammed fatima john mary james robert william linda susan tom tobi flo basti chris
alex steffi moni uli susi gitte hansi pit
muller mueller schmidt schneider fischer weber meyer wagner becker schulz hoffmann schafer schaefer koch bauer richter
klein wolf schroder schroeder neumann schwarz zimmermann braun kruger krueger hofmann hartmann lange schmitt werner
krause meier maier lehmann schmid schulze kohler koehler herrmann konig koenig walter mayer huber kaiser fuchs peters
lang scholz moller moeller weiss jung hahn schubert vogel friedrich keller gunther guenther frank berger winkler roth
beck lorenz baumann franke albrecht schuster simon ludwig bohm boehm winter kraus martin schumacher kramer kraemer vogt
stein jager jaeger otto sommer gross seidel heinrich brandt haas schreiber graf schulte dietrich ziegler kuhn kuehn
pohl engel horn busch bergmann thomas voigt sauer arnold wolff pfeiffer ozturk oeztuerk yilmaz kaya smith jones brown
johnson williams miller davis taylor mustermann
`
  .trim()
  .split(/\s+/u);

/** Digits and letters that fingers or heads know as one. */
export const RUNS: readonly string[] = ['01234567890', '09876543210', 'abcdefghijklmnopqrstuvwxyz', 'qwertzuiop', 'qwertyuiop', 'asdfghjkl', 'yxcvbnm', 'zxcvbnm'];

/** Numbers that stand for something. */
export const NUMBERS: readonly string[] = ['42', '69', '88', '666', '777', '007', '0815', '4711', '1337', '08154711', '123', '321', '112', '110'];
