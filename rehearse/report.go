package rehearse

import (
	"encoding/json"
	"time"
)

// Report is the result of a rehearsal.
type Report struct {
	// Command is the program's.
	Command []string `json:"command"`
	// Results has one entry per scenario, in the order in which they were rehearsed.
	Results []Result `json:"results"`
	// Stale has the findings that the baseline accepts but that their scenario no longer has.
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

// Result is the result of one scenario.
type Result struct {
	// Scenario is the one that was rehearsed.
	Scenario Scenario `json:"scenario"`
	// Skipped is the reason why the scenario could not be rehearsed, empty if it was.
	Skipped string `json:"skipped,omitempty"`
	// Isolation describes how the program was isolated.
	Isolation string `json:"isolation"`
	// URL is what clients asked for, empty if there were none.
	URL      string    `json:"url,omitempty"`
	Events   []Event   `json:"events"`
	Findings []Finding `json:"findings"`
	// Passed has the codes of the checks that found nothing.
	Passed []Code `json:"passed"`
	// Answered is how many requests were answered, Failed how many were not. NotSent is how many this
	// process could not send in time, for want of a processor, file, port or memory, or because too
	// many others were in flight: they say nothing about the program.
	Answered int `json:"answered"`
	Failed   int `json:"failed"`
	NotSent  int `json:"not_sent,omitempty"`
	// Clients has the same counts for each target and kind of client.
	Clients []Clients `json:"clients,omitempty"`
	// ExitCode is the program's exit code as Kubernetes records it: 128 plus the number of the signal,
	// if a signal terminated it. It is -1 if the rehearsal ended before the program.
	ExitCode int `json:"exit_code"`
	// Stacks shows where the program hung, if it had not exited when its time was up and its stacks
	// can be read: the goroutines of a Go program, the threads of one in Python or Java, and what
	// kept one in Node.js alive.
	Stacks []Stack `json:"stacks,omitempty"`
	// Output has the last lines that the program has written.
	Output []string `json:"output,omitempty"`
}

// Clients counts the requests of one kind of client to one target.
type Clients struct {
	// Target is what the clients asked for, and Client describes the clients.
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

// Event is an entry of the timeline.
type Event struct {
	// At is the time since the program was started.
	At time.Duration
	// Until is the end of an event that lasted for some time or happened many times. It is 0 for a
	// single moment.
	Until time.Duration
	// What names the event in a word or two, and Detail adds the rest.
	What, Detail string
	// Code is the finding that this event belongs to, empty for none.
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

// Finding is a defect of the program that its clients or its operators notice in a deploy.
type Finding struct {
	// Code identifies the kind of finding.
	Code Code `json:"code"`
	// Fails is set if the finding makes the rehearsal fail. Other findings are warnings.
	Fails bool `json:"fails"`
	// Seen describes what was observed, in numbers.
	Seen string `json:"seen"`
	// Accepted is set if the baseline has the finding, so that it does not make the rehearsal fail.
	Accepted bool `json:"accepted,omitempty"`
}
