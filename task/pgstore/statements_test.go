package pgstore

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLoadStatements_PutsTheSchemaInEverywhere(t *testing.T) {
	v := reflect.ValueOf(loadStatements(`"odd"`))
	for i := range v.NumField() {
		name, text := v.Type().Field(i).Name, v.Field(i).String()
		if text == "" || strings.Contains(text, "@.") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// A statement that waits for a run must not skip it, and a row that was waited for may have moved.
func TestLoadStatements_MakesThoseThatWaitForOneRun(t *testing.T) {
	q := loadStatements("s")
	for _, waits := range []string{q.FinishRun, q.SaveRun, q.SaveRunTx} {
		if strings.Contains(waits, "skip locked") || strings.Contains(waits, "running where ctid") {
			t.Errorf("it does not wait: %.400s", waits)
		}
	}
	for _, passes := range []string{q.FinishRuns, q.SaveRuns} {
		if strings.Count(passes, "skip locked") != 1 {
			t.Errorf("it waits: %.400s", passes)
		}
	}
	if !strings.Contains(q.SaveRunTx, "order by task for update") || strings.Contains(q.SaveRunTx, "for key share") {
		t.Error("SaveRunTx does not keep others from its run")
	}
	if !strings.Contains(q.FinishRun, "running where task = any (array(") || !strings.Contains(q.FinishRun, "select task from") {
		t.Error("FinishRun does not name its run")
	}
}

// A claim compares the names too: two routes may have the same number.
func TestStatements_CompareTheNamesOfARoute(t *testing.T) {
	b := newRig(t)
	b.fillReady(1, 2, "default")
	mustExec(t, b.store, `with one as (update @.tasks set kind = 'other' where id = $1 returning id) update @.ready set kind = 'other' where id = (select id from one)`, testID(2))
	if got := claims(t, b.store, "k"); !slices.Equal(got, []string{testID(1)}) {
		t.Errorf("claimed %v, and one of them is of another kind", got)
	}
}

func TestWithServer_PutsPgCatalogBeforeTheCallsOfTheServersFunctionsAlone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"select count(*), max(length(a))":  "select pg_catalog.count(*), pg_catalog.max(pg_catalog.length(a))",
		"discount(a), count_(b), (min(c))": "discount(a), count_(b), (pg_catalog.min(c))",
		"now()":                            "pg_catalog.now()",
		"count (a) in (b) and (((":         "count (a) in (b) and (((",
		"count":                            "count",
	} {
		if got := withServer(text); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
	calls := regexp.MustCompile(`\b(` + strings.Join(serverFunctions, "|") + `)\(`)
	for name, text := range embedded() {
		bare := strings.ReplaceAll(text, "pg_catalog.", "")
		if got, want := withServer(bare), calls.ReplaceAllString(bare, "pg_catalog.$1("); got != want {
			t.Errorf("%s became %s, want %s", name, got, want)
		}
	}
}
