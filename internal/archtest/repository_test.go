package archtest_test

import (
	"os"
	"path"
	"regexp"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/internal/archtest"
)

// table lists which package may import which. To add a package, add a row with its reason.
var table = []archtest.Row{
	{
		Package: ".",
		Allow:   []string{archtest.Std, "internal/stackdump", "internal/safelog", "internal/signals", "internal/suspend"},
		Reason:  "any Go program may use the root package, so it has no dependencies",
	},
	{
		Package: "task",
		Allow:   []string{archtest.Std, ".", "internal/stackdump", "internal/safelog", "internal/suspend"},
		Reason:  "it decides about tasks for every store and imports none of them, so a user of one store does not fetch the others",
	},
	{
		Package: "task/storekit",
		Allow:   []string{archtest.Std, "task"},
		Reason:  "what all stores share apart from the contract: the author of another store uses it without one of ours",
	},
	{
		Package: "task/cron",
		Allow:   []string{archtest.Std, "task", "github.com/robfig/cron/v3"},
		Reason:  "a program without cron expressions does not get their parser",
	},
	{
		Package: "task/memstore",
		Allow:   []string{archtest.Std, "task", "task/storekit"},
		Reason:  "stores know the interface and never each other; users' tests import this one, so it has no dependencies",
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
		Reason:    "one suite for every store, also of other authors: it knows only the interface, and no program links package testing",
	},
	{
		Package:   "task/tasktest",
		Allow:     []string{archtest.Std, ".", "task", "task/memstore", "internal/stackdump"},
		TestsOnly: true,
		Reason:    "for the tests of handlers: it runs them in a group and on the memory store, and no program links package testing",
	},
	{
		Package: "task/httpapi",
		Allow:   []string{archtest.Std, "task", "internal/safelog"},
		Reason:  "the API uses the client of any store, so it imports none",
	},
	{
		Package: "internal/proc",
		Allow:   []string{archtest.Std},
		Reason:  "process trees need system calls only; many packages use it, so it imports none of them",
	},
	{
		Package: "internal/stackdump",
		Allow:   []string{archtest.Std},
		Reason:  "the root package reads goroutine profiles with it, so it has no dependencies either",
	},
	{
		Package: "internal/signals",
		Allow:   []string{archtest.Std},
		Reason:  "the root package names signals with it, so it has no dependencies either",
	},
	{
		Package: "internal/suspend",
		Allow:   []string{archtest.Std},
		Reason:  "the root package and task look for suspensions with it, so it has no dependencies either",
	},
	{
		Package: "internal/safelog",
		Allow:   []string{archtest.Std},
		Reason:  "every package that gets a logger wraps it with this, so it has no dependencies either",
	},
	{
		Package: "internal/sqlfile",
		Allow:   []string{archtest.Std},
		Reason:  "it reads the stores' SQL files, and depends on no database",
	},
	{
		Package: "prom",
		Allow:   []string{archtest.Std, ".", "task", "github.com/prometheus/client_golang/prometheus"},
		Reason:  "metrics of any store and worker, in a module of its own: a program without Prometheus does not fetch it",
	},
	{
		Package: "rehearse",
		Allow:   []string{archtest.Std, "internal/proc"},
		Reason:  "it rehearses a program in any language: it knows neither tasks nor groups, and its users get nothing else",
	},
	{
		Package: "internal/fixes/...",
		Allow:   []string{archtest.Std},
		Reason:  "programs to be read and copied, with no dependency: package rehearse tests them, and the command line prints them",
	},
	{
		Package: "cmd/lastcall/...",
		Allow:   []string{archtest.Any},
		Reason:  "the program uses everything, in a module of its own so that its dependencies are not the library's",
	},
	{
		Package:   "bench/...",
		Allow:     []string{archtest.Any},
		TestsOnly: true,
		Reason:    "it measures other libraries side by side, in a module that nothing imports",
	},
	{
		Package: "examples/...",
		Allow:   []string{archtest.Std, ".", "task", "task/memstore", "task/sqlitestore"},
		Reason:  "an example shows the public packages and what a reader needs to run it, nothing else",
	},
	{
		Package: "examples/import",
		Allow:   []string{archtest.Std, ".", "task", "task/pgstore", "internal/pgtest", "github.com/jackc/pgx/v5/..."},
		Reason:  "it shows one transaction of rows and a checkpoint, in PostgreSQL",
	},
	{
		Package: "examples/service",
		Allow: []string{archtest.Std, ".", "task", "task/pgstore", "task/httpapi", "prom", "github.com/jackc/pgx/v5/...",
			"github.com/prometheus/client_golang/..."},
		Reason: "a complete service, in a module of its own, like a reader's service: it imports what a service imports",
	},
	{
		Package:   "test/...",
		Allow:     []string{archtest.Any},
		TestsOnly: true,
		Reason:    "tests of the real binary may import anything, and nothing imports them",
	},
	{
		Package:   "test/chaos",
		Allow:     []string{archtest.Std, "internal/proc", "test/chaos/...", "github.com/jackc/pgx/v5/...", "golang.org/x/sys/..."},
		TestsOnly: true,
		Reason:    "the harness knows no library for background work: it injects faults into a driver, and each library has its own",
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
		Reason:    "a driver in another module uses it, and nothing else",
	},
	{
		Package:   "test/chaos/checker",
		Allow:     []string{archtest.Std, "test/chaos/history"},
		TestsOnly: true,
		Reason:    "it judges only by the record: code shared with a store could have the same error in both",
	},
	{
		Package:   "test/chaos/proxy",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "like a network it is independent of the driver: it reads PostgreSQL's messages itself",
	},
	{
		Package:   "test/chaos/server",
		Allow:     []string{archtest.Std, "internal/pgtest", "test/chaos/proxy", "github.com/jackc/pgx/v5/...", "modernc.org/sqlite"},
		TestsOnly: true,
		Reason:    "it injects faults into databases from outside, with the databases' drivers and not with the stores",
	},
	{
		Package:   "test/attack/...",
		Allow:     []string{archtest.Std, "internal/pgtest", "internal/proc", "github.com/jackc/pgx/v5/...", "golang.org/x/sys/...", "modernc.org/sqlite"},
		TestsOnly: true,
		Reason:    "an attacker has only the built program, and none of its packages",
	},
	{
		Package:   "internal/bom",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "it lists what a program consists of, so it adds nothing to the list",
	},
	{
		Package:   "internal/pgtest",
		Allow:     []string{archtest.Std, "internal/freeport", "github.com/jackc/pgx/v5/..."},
		TestsOnly: true,
		Reason:    "it starts PostgreSQL for the tests of several packages, and knows nothing of what they test",
	},
	{
		Package:   "internal/freeport",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "the tests of several packages start programs that listen, and these must not meet",
	},
	{
		Package:   "internal/execfile",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "the tests of several packages write programs and start them while others are started",
	},
	{
		Package:   "internal/stopwatch",
		Allow:     []string{archtest.Std},
		TestsOnly: true,
		Reason:    "it measures time in the tests of several packages, and knows nothing of what they test",
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
	report(t, archtest.Imports(repository(t).Packages, table))
}

func TestRepository_PackagesAreNamedAfterWhatTheyProvide(t *testing.T) {
	report(t, archtest.Names(repository(t).Packages))
}

func TestRepository_EveryExportedNameHasAComment(t *testing.T) {
	report(t, archtest.Comments(repository(t)))
}

func TestRepository_NoFileOrFunctionIsTooLong(t *testing.T) {
	report(t, archtest.Lengths(repository(t)))
}

func TestRepository_TheRootFolderIsShort(t *testing.T) {
	breaches, err := archtest.RootEntries("../..")
	if err != nil {
		t.Fatal(err)
	}
	report(t, breaches)
}

func TestRepository_ModulesReplaceOnlyEachOther(t *testing.T) {
	report(t, archtest.Replaces(repository(t)))
}

func TestRepository_ModulesRequireTheSameVersions(t *testing.T) {
	report(t, archtest.Versions(repository(t)))
}

func TestRepository_EveryTestBeginsWithItsSubject(t *testing.T) {
	report(t, archtest.TestNames(repository(t)))
}

func TestRepository_WhatIsSkippedWithShortIsSaidToBeInTestFull(t *testing.T) {
	report(t, archtest.ShortSkips(repository(t)))
}

func TestRepository_ProseIsWrappedAndUsesTheWordsOfTheField(t *testing.T) {
	report(t, archtest.Prose(repository(t)))
}

func TestRepository_TheFilesOfArchitectureAreThere(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	for _, name := range repository(t).Files() {
		files[path.Base(name)] = true
	}
	for _, name := range regexp.MustCompile(`\w+\.go\b`).FindAllString(string(page), -1) {
		if !files[name] {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", name)
		}
	}
}

var readRepository = sync.OnceValues(func() (*archtest.Tree, error) { return archtest.Read("../..") })

func repository(t *testing.T) *archtest.Tree {
	t.Helper()
	tree, err := readRepository()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func report(t *testing.T, breaches []string) {
	t.Helper()
	for _, breach := range breaches {
		t.Error(breach)
	}
}
