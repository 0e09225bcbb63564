package archtest_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/internal/archtest"
)

// table says who may import whom. To add a package, add its row and the reason.
var table = []archtest.Row{
	{
		Package: ".",
		Allow:   []string{archtest.Std, "internal/stackdump", "internal/safelog"},
		Reason:  "any Go program can take the root package, so it brings no dependency with it",
	},
	{
		Package: "task",
		Allow:   []string{archtest.Std, ".", "internal/stackdump", "internal/safelog"},
		Reason:  "decisions about tasks are made here, for every store: it knows none of them, and a user of one store does not fetch the others",
	},
	{
		Package: "task/storekit",
		Allow:   []string{archtest.Std, "task"},
		Reason:  "what all stores share beside the contract: whoever writes another store takes it without taking one of ours",
	},
	{
		Package: "task/cron",
		Allow:   []string{archtest.Std, "task", "github.com/robfig/cron/v3"},
		Reason:  "who needs no cron expressions does not get their parser",
	},
	{
		Package: "task/memstore",
		Allow:   []string{archtest.Std, "task", "task/storekit"},
		Reason:  "stores know the interface and never each other; this one is used in tests, where a dependency would be everybody's",
	},
	{
		Package: "task/sqlitestore",
		Allow:   []string{archtest.Std, "task", "task/storekit", "internal/sqlfile", "internal/safelog", "modernc.org/sqlite/...", "golang.org/x/sys/..."},
		Reason:  "stores know the interface and never each other; SQLite without cgo, and the system calls for lock files that syscall does not have",
	},
	{
		Package: "task/pgstore",
		Allow:   []string{archtest.Std, "task", "task/storekit", "internal/sqlfile", "internal/safelog", "github.com/jackc/pgx/v5/..."},
		Reason:  "stores know the interface and never each other; pgx itself, for its batches and notifications",
	},
	{
		Package:   "task/storetest",
		Allow:     []string{archtest.Std, "task", "pgregory.net/rapid", "task/cron"},
		TestsOnly: true,
		Reason:    "one suite for every store, also those of others: it knows the interface alone, and no program carries package testing",
	},
	{
		Package:   "task/tasktest",
		Allow:     []string{archtest.Std, ".", "task", "task/memstore", "internal/stackdump"},
		TestsOnly: true,
		Reason:    "for the tests of those who write handlers: it runs them under a group and on the store in memory, and no program carries package testing",
	},
	{
		Package: "task/httpapi",
		Allow:   []string{archtest.Std, "task", "internal/safelog"},
		Reason:  "the API speaks to the client of any store, so it knows none",
	},
	{
		Package: "internal/proc",
		Allow:   []string{archtest.Std},
		Reason:  "process trees are system calls; everything above may use it, so it uses nothing above",
	},
	{
		Package: "internal/stackdump",
		Allow:   []string{archtest.Std},
		Reason:  "the root package reads goroutine profiles with it, so it brings no dependency either",
	},
	{
		Package: "internal/safelog",
		Allow:   []string{archtest.Std},
		Reason:  "whoever is given a logger wraps it with this, so it brings no dependency either",
	},
	{
		Package: "internal/sqlfile",
		Allow:   []string{archtest.Std},
		Reason:  "it reads the stores' files of SQL, and knows none of the databases",
	},
	{
		Package: "prom",
		Allow:   []string{archtest.Std, ".", "task", "github.com/prometheus/client_golang/prometheus"},
		Reason:  "metrics of any store and worker, in a module of its own: whoever does not use Prometheus does not fetch it",
	},
	{
		Package: "rehearse",
		Allow:   []string{archtest.Std, "internal/proc"},
		Reason:  "it rehearses any program, of whatever language: it knows neither tasks nor groups, and who only uses it gets nothing else",
	},
	{
		Package: "internal/fixes/...",
		Allow:   []string{archtest.Std},
		Reason:  "programs to be read and copied, with no dependency: package rehearse tests them, and the command line prints them",
	},
	{
		Package: "cmd/lastcall/...",
		Allow:   []string{archtest.Any},
		Reason:  "the program puts everything together, in a module of its own so that its dependencies are not the library's",
	},
	{
		Package:   "bench/...",
		Allow:     []string{archtest.Any},
		TestsOnly: true,
		Reason:    "other libraries are measured side by side, in a module that nobody imports",
	},
	{
		Package: "examples/...",
		Allow:   []string{archtest.Std, ".", "task", "task/memstore", "task/sqlitestore"},
		Reason:  "an example shows the public packages and what a reader needs to run it, nothing else",
	},
	{
		Package: "examples/import",
		Allow:   []string{archtest.Std, ".", "task", "task/pgstore", "internal/pgtest", "github.com/jackc/pgx/v5/..."},
		Reason:  "what is shown is one transaction of rows and a checkpoint, in PostgreSQL",
	},
	{
		Package: "examples/service",
		Allow: []string{archtest.Std, ".", "task", "task/pgstore", "task/httpapi", "prom", "github.com/jackc/pgx/v5/...",
			"github.com/prometheus/client_golang/..."},
		Reason: "a whole service, in a module of its own as its reader's is: what it imports is what a service imports",
	},
	{
		Package:   "test/...",
		Allow:     []string{archtest.Any},
		TestsOnly: true,
		Reason:    "tests of the real binary may use whatever helps them, and nobody uses them",
	},
	{
		Package:   "test/chaos",
		Allow:     []string{archtest.Std, "internal/proc", "test/chaos/...", "github.com/jackc/pgx/v5/...", "golang.org/x/sys/..."},
		TestsOnly: true,
		Reason:    "the harness knows no library for background work: what it puts under faults is a driver, and a peer is another one",
	},
	{
		Package:   "test/chaos/history",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "the record of a run is data, for drivers in other modules too",
	},
	{
		Package:   "test/chaos/wire",
		Allow:     []string{archtest.Std, "test/chaos/history"},
		TestsOnly: true,
		Reason:    "a driver in another module takes it, and nothing else with it",
	},
	{
		Package:   "test/chaos/checker",
		Allow:     []string{archtest.Std, "test/chaos/history"},
		TestsOnly: true,
		Reason:    "it judges by the record alone: code that it shared with a store could be wrong in both",
	},
	{
		Package:   "test/chaos/proxy",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "a network has no opinion: it reads PostgreSQL's messages without a driver",
	},
	{
		Package:   "test/chaos/server",
		Allow:     []string{archtest.Std, "internal/pgtest", "test/chaos/proxy", "github.com/jackc/pgx/v5/...", "modernc.org/sqlite"},
		TestsOnly: true,
		Reason:    "faults of databases are made from outside, with the databases' drivers and not with the stores",
	},
	{
		Package:   "test/attack/...",
		Allow:     []string{archtest.Std, "internal/pgtest", "internal/proc", "github.com/jackc/pgx/v5/...", "golang.org/x/sys/...", "modernc.org/sqlite"},
		TestsOnly: true,
		Reason:    "an attacker has the built program and no package of it",
	},
	{
		Package:   "internal/bom",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "what says of what a program consists brings nothing in that it would have to name",
	},
	{
		Package:   "internal/pgtest",
		Allow:     []string{archtest.Std, "github.com/jackc/pgx/v5/..."},
		TestsOnly: true,
		Reason:    "it starts PostgreSQL for the tests of several packages, and knows nothing of what they test",
	},
	{
		Package:   "internal/stopwatch",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "it measures beside the tests of several packages, and knows nothing of what they test",
	},
	{
		Package:   "internal/archtest",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "the tools of the tests must build before anything is fetched",
	},
	{
		Package:   "internal/testrun",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "the tools of the tests must build before anything is fetched",
	},
}

func TestRepository_PackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	report(t, archtest.Imports(repository(t), table))
}

func TestRepository_PackagesAreNamedAfterWhatTheyProvide(t *testing.T) {
	report(t, archtest.Names(repository(t)))
}

func TestRepository_EveryExportedNameHasAComment(t *testing.T) {
	breaches, err := archtest.Comments(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	report(t, breaches)
}

func TestRepository_NoFileOrFunctionIsTooLong(t *testing.T) {
	breaches, err := archtest.Lengths("../..")
	if err != nil {
		t.Fatal(err)
	}
	report(t, breaches)
}

var loadRepository = sync.OnceValues(func() ([]archtest.Package, error) { return archtest.Load(context.Background(), "../..") })

func repository(t *testing.T) []archtest.Package {
	t.Helper()
	packages, err := loadRepository()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func load(t *testing.T, root string) []archtest.Package {
	t.Helper()
	packages, err := archtest.Load(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func report(t *testing.T, breaches []string) {
	t.Helper()
	for _, breach := range breaches {
		t.Error(breach)
	}
}

func TestRepository_TheFilesOfArchitectureAreThere(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	for _, p := range repository(t) {
		for _, file := range p.Files {
			files[filepath.Base(file)] = true
		}
	}
	for _, name := range regexp.MustCompile(`\w+\.go\b`).FindAllString(string(page), -1) {
		if !files[name] {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", name)
		}
	}
}

func TestRepository_EveryTestBeginsWithItsSubject(t *testing.T) {
	breaches, err := archtest.TestNames("../..")
	if err != nil {
		t.Fatal(err)
	}
	report(t, breaches)
}
