package review

import (
	"bytes"
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/xeipuuv/gojsonschema"

	"github.com/lastcall-go/lastcall/rehearse"
)

// sarifSchemaText is the schema of SARIF 2.1.0, which the library that reads SARIF here has in a
// constant.
var sarifSchemaText = sync.OnceValues(func() (string, error) {
	library, err := build.Import("github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif", ".", build.FindOnly)
	if err != nil {
		return "", err
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(library.Dir, "schema.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	for _, decl := range file.Decls {
		for _, spec := range decl.(*ast.GenDecl).Specs {
			if one := spec.(*ast.ValueSpec); one.Names[0].Name == "schema" {
				return strconv.Unquote(one.Values[0].(*ast.BasicLit).Value)
			}
		}
	}
	return "", errors.New("the library has no schema")
})

// readSARIF checks a log against the schema, which allows no names but SARIF's, and reads it.
func readSARIF(t *testing.T, text string) *sarif.Run {
	t.Helper()
	schema, err := sarifSchemaText()
	if err != nil {
		t.Fatal(err)
	}
	judged, err := gojsonschema.Validate(gojsonschema.NewStringLoader(schema), gojsonschema.NewStringLoader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range judged.Errors() {
		t.Errorf("%s in\n%s", one, text)
	}
	log, err := sarif.FromString(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if len(log.Runs) != 1 {
		t.Fatalf("%d runs", len(log.Runs))
	}
	return log.Runs[0]
}

func TestSARIF_IsValidAndHasAResultForEachCode(t *testing.T) {
	for name, r := range map[string]*rehearse.Report{"one": oneScenario(), "several": severalScenarios(), "hostile": hostileReport(), "none": {}} {
		for _, source := range []string{"", "deploy/my app.yaml", "/srv/deployment.yaml", "./Dockerfile"} {
			run := readSARIF(t, written(t, func(b *bytes.Buffer) error { return SARIF(b, Origin{"v1.0.0", source}, r, nil) }))
			if len(run.Tool.Driver.Rules) != len(rehearse.Codes()) {
				t.Errorf("%s: %d rules", name, len(run.Tool.Driver.Rules))
			}
			for _, result := range run.Results {
				if rule := run.Tool.Driver.Rules[result.RuleIndex]; *rule.ID != *result.RuleID {
					t.Errorf("%s: the rule of %s is %s", name, *result.RuleID, *rule.ID)
				}
			}
		}
	}
	run := readSARIF(t, written(t, func(b *bytes.Buffer) error {
		return SARIF(b, Origin{Source: "./deploy/my app.yaml"}, severalScenarios(), nil)
	}))
	if len(run.Results) != 2 || run.Results[0].Level != "error" || run.Results[1].Level != "warning" {
		t.Fatalf("%d results", len(run.Results))
	}
	if at := *run.Results[0].Locations[0].PhysicalLocation.ArtifactLocation.URI; at != "deploy/my%20app.yaml" {
		t.Errorf("it is at %s", at)
	}
}

func TestSARIF_WhatIsAcceptedIsSuppressed(t *testing.T) {
	r := oneScenario()
	r.Results[0].Findings[0].Accepted = true
	run := readSARIF(t, written(t, func(b *bytes.Buffer) error { return SARIF(b, Origin{}, r, nil) }))
	for _, result := range run.Results {
		if got := len(result.Suppressions) == 1; got != (*result.RuleID == "LC104") {
			t.Errorf("%s is suppressed: %v", *result.RuleID, got)
		}
	}
}

func TestSARIF_ARehearsalThatFailedIsNotTakenForOneWithoutFindings(t *testing.T) {
	run := readSARIF(t, written(t, func(b *bytes.Buffer) error { return SARIF(b, Origin{}, nil, errors.New("no such file")) }))
	if one := run.Invocations[0]; *one.ExecutionSuccessful || *one.ToolExecutionNotifications[0].Message.Text != "no such file" {
		t.Errorf("%+v", one)
	}
}
