package archtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/internal/archtest"
)

const broken = "testdata/broken"

// sound is a table that fits testdata/broken but for its breaches.
var sound = []archtest.Row{
	{Package: ".", Allow: []string{archtest.Std}, Reason: "the root stands alone"},
	{Package: "core", Allow: []string{archtest.Std}, Reason: "the core stands alone"},
	{Package: "store", Allow: []string{"core"}, Reason: "stores know the core"},
	{Package: "other", Allow: []string{"core"}, Reason: "stores know the core"},
	{Package: "suite", Allow: []string{archtest.Std}, TestsOnly: true, Reason: "made for tests"},
	{Package: "program/...", Allow: []string{archtest.Any}, Reason: "the program takes everything"},
	{Package: "bare", Allow: []string{archtest.Std}, Reason: "it has only names"},
}

func TestBreachesOfTheTableAreFound(t *testing.T) {
	same(t, archtest.Imports(load(t, broken), sound), []string{
		". imports core, and may import only std: the root stands alone",
		"core imports other, and may import only std: the core stands alone", // on Windows only
		"store imports example.test/elsewhere/deep, and may import only core: stores know the core",
		"store imports suite, which only tests may import: made for tests",
		"util is not in the table of allowed imports: add a row with its reason",
	})
}

func TestARowNeedsAReason(t *testing.T) {
	table := append(slices.Clone(sound), archtest.Row{Package: "util", Allow: []string{archtest.Std}})
	if got := archtest.Imports(load(t, broken), table); !slices.ContainsFunc(got, func(s string) bool {
		return strings.HasPrefix(s, "the row for util has no reason")
	}) {
		t.Errorf("got %q", got)
	}
}

func TestARowWithoutAPackageIsABreach(t *testing.T) {
	table := append(slices.Clone(sound), archtest.Row{Package: "gone/...", Allow: []string{archtest.Std}, Reason: "it was here once"})
	if got := archtest.Imports(load(t, broken), table); !slices.Contains(got, "the row for gone/... is about no package: remove it") {
		t.Errorf("got %q", got)
	}
}

func TestTheLongestRowThatFitsCounts(t *testing.T) {
	packages := []archtest.Package{{Dir: "a", Path: "x/a"}, {Dir: "a/b", Path: "x/a/b"}, {Dir: "a/b/c", Path: "x/a/b/c", Imports: []string{"y"}}}
	table := []archtest.Row{
		{Package: "a/...", Allow: []string{archtest.Any}, Reason: "loose"},
		{Package: "a/b/...", Reason: "strict"},
		{Package: "a/b", Allow: []string{archtest.Any}, Reason: "another package"},
	}
	same(t, archtest.Imports(packages, table), []string{"a/b/c imports y, and may import only : strict"})
}

func TestATreeDoesNotCoverItsNamesake(t *testing.T) {
	packages := []archtest.Package{{Dir: "p", Path: "x/p", Imports: []string{"mod/a", "mod", "modern"}}}
	table := []archtest.Row{{Package: "p", Allow: []string{"mod/..."}, Reason: "one module"}}
	same(t, archtest.Imports(packages, table), []string{"p imports modern, and may import only mod/...: one module"})
}

func TestEmptyNamesAreFound(t *testing.T) {
	same(t, archtest.Names(load(t, broken)), []string{
		"program/misc is called misc, which says nothing: name it after what it provides",
		"util is called util, which says nothing: name it after what it provides",
	})
}

func TestMissingCommentsAreFound(t *testing.T) {
	got, err := archtest.Comments(load(t, broken))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, breach := range got {
		if _, rest, found := strings.Cut(breach, ": "); found {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		} else {
			names = append(names, breach)
		}
	}
	same(t, names, []string{
		"say", // bare has no package comment: say what it is for
		"Naked", "Function", "Naked.Method", "Generic.Method", "Constant", "Variable",
		"Directive",     // a directive is no comment
		"Generic.Apart", // an empty line ends what shares a comment
		"Doer.Do",
	})
}

func TestLongFilesAreFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "long.go")
	packages := []archtest.Package{{Dir: "p", Files: []string{file}}}
	for lines, want := range map[int]int{archtest.MaxLines: 0, archtest.MaxLines + 1: 1} {
		if err := os.WriteFile(file, []byte(strings.Repeat("\n", lines)), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := archtest.Lengths(packages)
		if err != nil || len(got) != want {
			t.Errorf("%d lines: %q, %v", lines, got, err)
		}
	}
}

func TestEveryModuleIsLookedAtOnce(t *testing.T) {
	var dirs []string
	for _, p := range load(t, broken) {
		dirs = append(dirs, p.Dir)
	}
	same(t, dirs, []string{".", "bare", "core", "other", "program", "program/misc", "store", "suite", "util"})
}

func TestATreeWithoutPackagesIsAnError(t *testing.T) {
	if _, err := archtest.Load(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "no packages found") {
		t.Errorf("got %v", err)
	}
}

// same compares without regard to order.
func same(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
}

func lines(s []string) string { return fmt.Sprintf("  %s", strings.Join(s, "\n  ")) }

func TestTestNames_WithoutASubjectAreFound(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"p/p_test.go": `package p

func TestMain(m *testing.M)             {}
func TestClaim_TakesTheOldest(t *testing.T) {}
func TestHTTP2_404IsAnAnswer(t *testing.T)  {}
func TestTheOldestIsTaken(t *testing.T)     {}
func TestClaim_takesTheOldest(t *testing.T) {}
func FuzzALine(f *testing.F)            {}
func (s suite) TestMethod(t *testing.T) {}
func helper()                           {}
`,
		"p/p.go":                 "package p\n\nfunc TestNothing() {}\n",
		"p/testdata/x_test.go":   "package p\n\nfunc TestNothing(t *testing.T) {}\n",
		".hidden/hidden_test.go": "package p\n\nfunc TestNothing(t *testing.T) {}\n",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := archtest.TestNames(root)
	if err != nil {
		t.Fatal(err)
	}
	const breach = " does not begin with its subject: name it TestSubject_Sentence"
	same(t, got, []string{
		"p/p_test.go: TestTheOldestIsTaken" + breach,
		"p/p_test.go: TestClaim_takesTheOldest" + breach,
		"p/p_test.go: FuzzALine" + breach,
	})
}
