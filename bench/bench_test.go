package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// Where a measure starts the program again as another process, the test binary takes its place.
func TestMain(m *testing.M) {
	beServer()
	beWorker()
	flag.Parse()
	load = 100
	if testing.Short() {
		load = 500
	}
	var err error
	if shared, err = pgtest.Start("fsync=off", "full_page_writes=off"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// alone lists the measures that do not run in parallel: their subject is this process, or they use
// much processor time. River aborts a transaction in SQLite that takes ten seconds.
var alone = []string{"start", "memory", "stop", "report", "reportAll", "sqlitework", "sqlitereal", "sqlitesave",
	"sqlitestop"}

// The benchmarks are part of what is promised, so they must not rot. Each contender runs in this
// process with a part of its load, and each promise finds the figures it refers to.
func TestMeasures_EachContenderWorksAndEachPromiseFindsItsFigures(t *testing.T) {
	if testing.Short() {
		t.Log("make test-full: a hundredth of each load instead of a five-hundredth")
	}
	for _, m := range measures {
		t.Run(m.name, func(t *testing.T) {
			if !slices.Contains(alone, m.name) {
				t.Parallel() // most of them wait most of the time
			}
			found := round{}
			for _, c := range m.contenders {
				var err error
				if found[c.name], err = c.run(); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				if err := found[c.name].print(new(bytes.Buffer)); err != nil {
					t.Errorf("%s: %v: %v", c.name, found[c.name], err)
				}
			}
			for _, r := range m.judge(results{found}, false) {
				if r.verdict == failed {
					t.Errorf("the promise %q finds no figures in %v", r.what, found)
				}
			}
		})
	}
}

func TestMeasures_HaveNamesOfTheirOwnAndABoundForEachPromise(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range measures {
		if seen[m.name] {
			t.Errorf("there are two measures %s", m.name)
		}
		seen[m.name] = true
		if len(m.promises) == 0 {
			t.Errorf("%s promises nothing", m.name)
		}
		for _, p := range m.promises {
			if (p.least > 0) == (p.most > 0) {
				t.Errorf("%s %s: one of least and most must be set", m.name, p.what)
			}
		}
	}
}

func TestPromise_IsJudgedByTheMedianOfWhatTheRoundsFound(t *testing.T) {
	a, b := figure{"a", "ms"}, figure{"b", "ms"}
	r := results{
		{"a": {"ms": 30}, "b": {"ms": 10}},
		{"a": {"ms": 20}, "b": {"ms": 10}},
		{"a": {"ms": 10}, "b": {"ms": 10}},
		{"a": {"ms": 20}}, // b was not measured in this round
	}
	for _, c := range []struct {
		name string
		p    promise
		want row
	}{
		{"a ratio at its bound", promise{ours: a, peer: b, most: 2},
			row{ours: "20 ms", peer: "10 ms b", ratio: "2 x (1 to 3)", wanted: "at most 2 x", verdict: reached}},
		{"a ratio above it", promise{ours: a, peer: b, most: 1.9},
			row{ours: "20 ms", peer: "10 ms b", ratio: "2 x (1 to 3)", wanted: "at most 1.90 x", verdict: missed}},
		{"a ratio below the aim", promise{ours: a, peer: b, least: 1.5, aim: 3},
			row{ours: "20 ms", peer: "10 ms b", ratio: "2 x (1 to 3)", wanted: "at least 1.50 x, aim 3 x", verdict: reached}},
		{"a figure", promise{ours: a, most: 20}, row{ours: "20 ms", wanted: "at most 20 ms", verdict: reached}},
		{"a figure below its bound", promise{ours: a, least: 21},
			row{ours: "20 ms", wanted: "at least 21 ms", verdict: missed}},
		{"a difference", promise{ours: a, peer: b, more: true, most: 9},
			row{ours: "20 ms", peer: "10 ms b", ratio: "10 ms (0 to 20)", wanted: "at most 9 ms more", verdict: missed}},
		{"a figure that nobody has", promise{ours: figure{"a", "s"}, most: 9}, row{wanted: "at most 9 s", verdict: failed}},
		{"a peer without the figure", promise{ours: a, peer: figure{"c", "ms"}, most: 9},
			row{ours: "20 ms", wanted: "at most 9 x", verdict: failed}},
	} {
		if got := (measure{promises: []promise{c.p}}).judge(r, false); got[0] != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got[0], c.want)
		}
	}
}

func TestTable_EndsWithFailedWhereAContenderHasFailed(t *testing.T) {
	m := measure{name: "m", promises: []promise{{what: "w", ours: figure{"a", "ms"}, most: 20}}}
	for _, c := range []struct {
		r     results
		quick bool
		want  string
		code  int
	}{
		{results{{}}, false, failed, 2},
		{results{{}}, true, failed, 2},
		{results{{"a": {"ms": 21}}}, false, missed, 1},
		{results{{"a": {"ms": 21}}}, true, notJudged, 0},
		{results{{"a": {"ms": 20}}}, false, reached, 0},
	} {
		rows := m.judge(c.r, c.quick)
		var out strings.Builder
		if err := printTable(&out, rows); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, c.want) || exitCode(rows) != c.code {
			t.Errorf("%+v: exit code %d, want %d, and %q, want %s", c.r, exitCode(rows), c.code, got, c.want)
		}
	}
}

func TestAmount_HasThreeDigitsOrSoAndItsUnit(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "ms", "0 ms"}, {0.123, "ms", "0.12 ms"}, {12.34, "us", "12.3 us"}, {999.6, "", "1,000"},
		{1234567, "/s", "1,234,567 /s"}, {-1234.5, "bytes", "-1,234 bytes"}, {2, "x", "2 x"},
	} {
		if got := amount(c.v, c.unit); got != c.want {
			t.Errorf("amount(%v, %q) is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestQuantile_IsTheSmallestThatSoManyDoNotExceed(t *testing.T) {
	vs := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0.5: 3, 0.95: 5, 0.2: 1, 1: 5, 0: 1} {
		if got := quantile(vs, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestFigures_AreReadAsTheyArePrinted(t *testing.T) {
	var printed bytes.Buffer
	if err := (figures{p99: math.NaN(), duration: 1.5}).print(&printed); err != nil {
		t.Fatal(err)
	}
	var read figures
	if err := json.Unmarshal(printed.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if len(read) != 2 || !math.IsNaN(read[p99]) || read[duration] != 1.5 {
		t.Errorf("%s was read as %v", printed.String(), read)
	}
}

func TestKnown_RefusesANameThatIsNoMeasure(t *testing.T) {
	if err := known([]string{"pgwork", "pgwrok"}); err == nil || !strings.Contains(err.Error(), "pgwrok") {
		t.Errorf("%v", err)
	}
	if err := known([]string{"pgwork"}); err != nil {
		t.Error(err)
	}
}
