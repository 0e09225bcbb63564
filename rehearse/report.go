package rehearse

import (
	"encoding/json"
	"time"
)

// Report is what a rehearsal has found.
type Report struct {
	// Command is that of the program.
	Command []string `json:"command"`
	// Results are those of the scenarios, in the order in which they were rehearsed.
	Results []Result `json:"results"`
	// Stale are findings that the baseline accepts, and that their scenario has no longer.
	Stale []Accepted `json:"stale,omitempty"`
}

// OK reports whether no finding is a failure.
func (r *Report) OK() bool {
	for _, one := range r.Results {
		if !one.OK() {
			return false
		}
	}
	return true
}

// Result is what one scenario has found.
type Result struct {
	// Scenario is the one that was rehearsed.
	Scenario Scenario `json:"scenario"`
	// Skipped says why it could not be rehearsed, empty if it was.
	Skipped string `json:"skipped,omitempty"`
	// Isolation says how the program was kept apart, in words.
	Isolation string `json:"isolation"`
	// URL is what clients asked for, empty where there were none.
	URL      string    `json:"url,omitempty"`
	Events   []Event   `json:"events"`
	Findings []Finding `json:"findings"`
	// Passed are the checks that found nothing, by their codes.
	Passed []Code `json:"passed"`
	// Answered is how many requests were answered, Failed how many were not. NotSent are those for
	// which this process had no processor, file, port or memory in time, or too many others under way:
	// they say nothing about the program.
	Answered int `json:"answered"`
	Failed   int `json:"failed"`
	NotSent  int `json:"not_sent,omitempty"`
	// Clients are the same by what was asked for, and by whom.
	Clients []Clients `json:"clients,omitempty"`
	// ExitCode is the program's, as Kubernetes records it: 128 and the number of the signal that
	// ended it. It is -1 where the rehearsal ended before the program.
	ExitCode int `json:"exit_code"`
	// Stacks are where a program stood that had not ended when its time was over, where that can be
	// found out: the goroutines of a Go program, the threads of one in Python or Java.
	Stacks []Stack `json:"stacks,omitempty"`
	// Output are the last lines that the program has written.
	Output []string `json:"output,omitempty"`
}

// Clients are what one sort of client met at one target.
type Clients struct {
	// Target is what they asked for, and Client says in words who they were.
	Target string `json:"target"`
	Client string `json:"client"`
	// Answered is how many requests were answered, Failed how many were not.
	Answered int `json:"answered"`
	Failed   int `json:"failed"`
}

// OK reports whether no finding is a failure.
func (r *Result) OK() bool {
	for _, f := range r.Findings {
		if f.Fails && !f.Accepted {
			return false
		}
	}
	return true
}

// Event is something that happened.
type Event struct {
	// At is the time since the program was started.
	At time.Duration
	// Until is when it was over, of what lasted or happened many times. It is 0 for a moment.
	Until time.Duration
	// What happened, in a word or two, and what there is to say about it.
	What, Detail string
	// Code is that of a finding that this belongs to, empty for none.
	Code Code
}

// MarshalJSON implements json.Marshaler: times are numbers of seconds.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		At     float64 `json:"at_seconds"`
		Until  float64 `json:"until_seconds,omitempty"`
		What   string  `json:"what"`
		Detail string  `json:"detail,omitempty"`
		Code   Code    `json:"code,omitempty"`
	}{e.At.Seconds(), e.Until.Seconds(), e.What, e.Detail, e.Code})
}

// Finding is something about the program that a deploy makes its clients or its operators feel.
type Finding struct {
	// Code says what it is.
	Code Code `json:"code"`
	// Fails: it makes the rehearsal fail. Others are warnings.
	Fails bool `json:"fails"`
	// Seen is what was seen, in numbers.
	Seen string `json:"seen"`
	// Accepted: the baseline has it, so that it does not make the rehearsal fail.
	Accepted bool `json:"accepted,omitempty"`
}
