package review

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/lastcall-go/lastcall/rehearse"
)

// The parts of SARIF 2.1.0 that are used.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool              sarifTool         `json:"tool"`
		AutomationDetails sarifID           `json:"automationDetails"`
		Invocations       []sarifInvocation `json:"invocations"`
		Results           []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifID struct {
		ID string `json:"id"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
		FullDescription  sarifText `json:"fullDescription"`
		Help             sarifText `json:"help"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Message             sarifText          `json:"message"`
		Locations           []sarifLocation    `json:"locations"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndLine     int `json:"endLine"`
		EndColumn   int `json:"endColumn"`
	}
	sarifLocation struct {
		PhysicalLocation struct {
			ArtifactLocation struct {
				URI       string `json:"uri"`
				URIBaseID string `json:"uriBaseId"`
			} `json:"artifactLocation"`
			Region sarifRegion `json:"region"`
		} `json:"physicalLocation"`
	}
)

const (
	sarifSchema    = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	informationURI = "https://github.com/lastcall-go/lastcall/blob/main/docs/rehearse.md"
)

// Origin is what a report is about, for tools that keep the reports of many programs.
type Origin struct {
	// Version is the version of lastcall.
	Version string
	// Source is the file at which a finding is shown, relative to the repository: a manifest, a
	// Dockerfile. A rehearsal sees no source, but a code host shows no finding without a file. Empty
	// means the program's own file.
	Source string
}

// SARIF writes a report as SARIF 2.1.0: a result for each code. A finding that the baseline accepts
// is suppressed. The report may be nil if the rehearsal has failed.
func SARIF(w io.Writer, o Origin, r *rehearse.Report, failed error) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "lastcall rehearse", Version: o.Version, InformationURI: informationURI, Rules: []sarifRule{},
		}},
		AutomationDetails: sarifID{"lastcall-rehearse/"},
		Invocations:       []sarifInvocation{{ExecutionSuccessful: failed == nil}},
		Results:           []sarifResult{},
	}
	index := map[rehearse.Code]int{}
	for i, code := range rehearse.Codes() {
		index[code] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: string(code), ShortDescription: sarifText{"The program " + code.Title() + "."},
			FullDescription: sarifText{code.Why()}, Help: sarifText{code.Change()},
		})
	}
	if r != nil {
		r = cleaned(r)
		for _, f := range findings(r) {
			run.Results = append(run.Results, sarifFound(f, index[f.code], location(o, r)))
		}
	}
	if failed != nil {
		run.Invocations[0].Notifications = []sarifNotification{{Level: "error", Message: sarifText{Lines(failed.Error())}}}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

// sarifFound returns one code as a result.
func sarifFound(f found, rule int, where string) sarifResult {
	texts := []string{"The program " + f.code.Title() + "."}
	for _, one := range f.seen {
		texts = append(texts, fmt.Sprintf("%s: %s.", one.scenario, one.text))
	}
	// A code host recognizes a finding by this, even if its numbers have changed. The name is
	// GitHub's. Without it, GitHub would use the text of the file's first line.
	fingerprint := sha256.Sum256([]byte(string(f.code) + "\n" + where))
	result := sarifResult{
		RuleID: string(f.code), RuleIndex: rule, Level: "error",
		Message:             sarifText{strings.Join(texts, "\n")},
		Locations:           make([]sarifLocation, 1),
		PartialFingerprints: map[string]string{"primaryLocationLineHash": hex.EncodeToString(fingerprint[:8]) + ":1"},
	}
	place := &result.Locations[0].PhysicalLocation
	place.ArtifactLocation.URI, place.ArtifactLocation.URIBaseID = where, "%SRCROOT%"
	place.Region = sarifRegion{1, 1, 1, 2}
	switch f.level {
	case warning:
		result.Level = "warning"
	case accepted:
		result.Level = "note"
		result.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: "the baseline accepts it"}}
	case passed, failure:
	}
	return result
}

// location returns the file at which findings are shown, as an address relative to the repository.
func location(o Origin, r *rehearse.Report) string {
	name := o.Source
	if name == "" && len(r.Command) > 0 {
		name = r.Command[0]
	}
	if filepath.IsAbs(name) {
		name = filepath.Base(name)
	}
	return (&url.URL{Path: filepath.ToSlash(filepath.Clean(cmp.Or(name, "program")))}).String()
}
