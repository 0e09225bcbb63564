package rehearse

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// reportOf returns a report with findings of one scenario.
func reportOf(s Scenario, findings ...Finding) *Report {
	return &Report{Results: []Result{{Scenario: s, Findings: findings}}}
}

func TestBaseline_AcceptsWhatItHasAndNothingWorse(t *testing.T) {
	for _, c := range []struct {
		name   string
		before Finding // what the baseline was made from
		now    *Report
		ok     bool
	}{
		{"the same", Finding{Code: CutOff, Fails: true}, reportOf(Delete, Finding{Code: CutOff, Fails: true, Seen: "other numbers"}), true},
		{"another one", Finding{Code: CutOff, Fails: true}, reportOf(Delete, Finding{Code: NoHandler, Fails: true}), false},
		{"another scenario", Finding{Code: CutOff, Fails: true}, reportOf(ForceDelete, Finding{Code: CutOff, Fails: true}), false},
		{"a warning that fails now", Finding{Code: CutOff}, reportOf(Delete, Finding{Code: CutOff, Fails: true}), false},
		{"a failure that warns now", Finding{Code: CutOff, Fails: true}, reportOf(Delete, Finding{Code: CutOff}), true},
	} {
		text, err := json.Marshal(reportOf(Delete, c.before).Baseline(nil))
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseBaseline(text)
		if err != nil {
			t.Fatal(err)
		}
		b.accept(&c.now.Results[0])
		if c.now.OK() != c.ok {
			t.Errorf("%s: OK is %v, with the baseline %s", c.name, c.now.OK(), text)
		}
	}
}

func TestBaseline_NamesWhatIsNotFoundAnyMore(t *testing.T) {
	b := &Baseline{Accepted: []Accepted{{Scenario: Delete, Code: CutOff}, {Scenario: Delete, Code: NoHandler}, {Scenario: ForceDelete, Code: CutOff}}}
	stale := b.stale(reportOf(Delete, Finding{Code: NoHandler}))
	if want := b.Accepted[:1]; !slices.Equal(stale, want) { // force-delete was not rehearsed
		t.Errorf("%v, want %v", stale, want)
	}
}

func TestBaseline_WrittenAnewKeepsReasonsAndWhatWasNotRehearsed(t *testing.T) {
	before := &Baseline{Accepted: []Accepted{
		{Delete, CutOff, true, "known"}, {Delete, NoHandler, true, "mended since"}, {ForceDelete, CutOff, false, "another day"},
	}}
	got := reportOf(Delete, Finding{Code: TooSlow}, Finding{Code: CutOff}).Baseline(before).Accepted
	if want := []Accepted{{Delete, TooSlow, false, ""}, {Delete, CutOff, false, "known"}, {ForceDelete, CutOff, false, "another day"}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBaseline_ThatIsNotUnderstoodIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                    "what --write-baseline writes",
		`{"accept": []}`:      "unknown field",
		`{"accepted": []} {}`: "goes on after its end",
		`{"accepted": [{"scenario": "delete", "code": "LC999"}]}`:                                          `"LC999", which is no finding`,
		`{"accepted": [{"scenario": "bored", "code": "LC101"}]}`:                                           `no scenario "bored"`,
		`{"accepted": [{"scenario": "delete", "code": "LC101"}, {"scenario": "delete", "code": "LC101"}]}`: "LC101 of delete twice",
	} {
		if _, err := ParseBaseline([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %s", text, err, want)
		}
	}
}
