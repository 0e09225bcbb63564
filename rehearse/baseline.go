package rehearse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Baseline is a list of accepted findings that the program's owner knows about, so that a check
// fails only for new ones. Its JSON form is a file that is committed next to the program.
type Baseline struct {
	// Accepted are the findings.
	Accepted []Accepted `json:"accepted"`
}

// Accepted is a finding of a baseline.
type Accepted struct {
	// Scenario and Code identify the finding.
	Scenario Scenario `json:"scenario"`
	Code     Code     `json:"code"`
	// Fails accepts the finding even as a failure. Without it the finding is accepted as a warning: it
	// fails the rehearsal once it has become a failure.
	Fails bool `json:"fails,omitempty"`
	// Reason is for the readers of the file.
	Reason string `json:"reason,omitempty"`
}

// ParseBaseline reads the JSON form of a baseline. An unknown name, code or scenario is an error: a
// baseline that accepts something else than was meant is worse than none.
func ParseBaseline(text []byte) (*Baseline, error) {
	var b Baseline
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return nil, fmt.Errorf("rehearse: a baseline is what --write-baseline writes: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("rehearse: the baseline goes on after its end: it is one JSON object")
	}
	for i, one := range b.Accepted {
		if !one.Code.Known() {
			return nil, fmt.Errorf("rehearse: the baseline accepts %q, which is no finding: they are %v", one.Code, Codes())
		}
		if err := one.Scenario.check(); err != nil {
			return nil, fmt.Errorf("the baseline accepts %s in no scenario: %w", one.Code, err)
		}
		if slices.ContainsFunc(b.Accepted[:i], one.same) {
			return nil, fmt.Errorf("rehearse: the baseline accepts %s of %s twice", one.Code, one.Scenario)
		}
	}
	return &b, nil
}

// Baseline accepts the findings of this report, warnings as warnings. It keeps what the baseline
// before, which may be nil, accepts in scenarios that were not rehearsed this time, and the reasons
// in it.
func (r *Report) Baseline(before *Baseline) *Baseline {
	b, rehearsed := &Baseline{Accepted: []Accepted{}}, map[Scenario]bool{}
	for _, one := range r.Results {
		rehearsed[one.Scenario] = true
		for _, f := range one.Findings {
			accepted := Accepted{Scenario: one.Scenario, Code: f.Code, Fails: f.Fails}
			if at := slices.IndexFunc(b.Accepted, accepted.same); at < 0 {
				b.Accepted = append(b.Accepted, accepted)
			} else if f.Fails {
				b.Accepted[at].Fails = true
			}
		}
	}
	if before == nil {
		return b
	}
	for _, one := range before.Accepted {
		if at := slices.IndexFunc(b.Accepted, one.same); at >= 0 {
			b.Accepted[at].Reason = one.Reason
		} else if !rehearsed[one.Scenario] {
			b.Accepted = append(b.Accepted, one)
		}
	}
	return b
}

// same reports whether two entries are about the same finding.
func (a Accepted) same(other Accepted) bool {
	return a.Scenario == other.Scenario && a.Code == other.Code
}

// accept marks the findings that are accepted. A nil baseline accepts none.
func (b *Baseline) accept(r *Result) {
	if b == nil {
		return
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Accepted = slices.ContainsFunc(b.Accepted, func(a Accepted) bool {
			return a.Scenario == r.Scenario && a.Code == f.Code && (a.Fails || !f.Fails)
		})
	}
}

// stale returns the accepted findings that were not found in a scenario that was rehearsed.
func (b *Baseline) stale(r *Report) (stale []Accepted) {
	if b == nil {
		return nil
	}
	for _, one := range b.Accepted {
		rehearsed, found := false, false
		for _, result := range r.Results {
			if result.Scenario == one.Scenario {
				rehearsed = true
				found = found || slices.ContainsFunc(result.Findings, func(f Finding) bool { return f.Code == one.Code })
			}
		}
		if rehearsed && !found {
			stale = append(stale, one)
		}
	}
	return stale
}
