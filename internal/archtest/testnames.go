package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// testName matches a subject, an underscore, and a sentence about the subject.
var testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z][A-Za-z0-9]*_[A-Z0-9][A-Za-z0-9]*$`)

// TestNames returns the tests and fuzz targets below root whose names do not
// begin with their subject, as TestClaim_TakesTheOldestFirst does. Tests of one subject
// are then next to each other in every list, and -run 'TestClaim_' runs them. testdata
// and names that begin with a dot or underscore are skipped.
func TestNames(root string) ([]string, error) {
	var breaches []string
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && file != root && skipped(name) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		found, err := misnamed(file)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, test := range found {
			breaches = append(breaches, fmt.Sprintf("%s: %s does not begin with its subject: name it TestSubject_Sentence",
				filepath.ToSlash(relative), test))
		}
		return nil
	})
	return breaches, err
}

// misnamed returns the tests of a file whose names do not match testName.
func misnamed(file string) (names []string, err error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Name.Name == "TestMain" {
			continue
		}
		name := f.Name.Name
		if (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")) && !testName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}
