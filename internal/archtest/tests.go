package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// testName matches a subject, an underscore, and a sentence about the subject.
var testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z][A-Za-z0-9]*_[A-Z0-9][A-Za-z0-9]*$`)

// TestNames returns the tests and fuzz targets whose names do not begin with their subject, as
// TestClaim_TakesTheOldestFirst does. Tests of one subject are then next to each other in every
// list, and -run 'TestClaim_' runs them.
func TestNames(t *Tree) []string {
	return inTestFiles(t, func(file *ast.File) (breaches []string) {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Name.Name == "TestMain" {
				continue
			}
			name := f.Name.Name
			if (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")) && !testName.MatchString(name) {
				breaches = append(breaches, name+" does not begin with its subject: name it TestSubject_Sentence")
			}
		}
		return breaches
	})
}

// fullSkip is how the reason of a test begins that does nothing with -short: the test runner
// lists it, and does not take it for a test that could not run.
const fullSkip = "make test-full: "

// ShortSkips returns the skips that depend on testing.Short, and whose reasons do
// not begin with "make test-full: ". CI fails for every other skip.
func ShortSkips(t *Tree) []string {
	return inTestFiles(t, func(file *ast.File) (breaches []string) {
		ast.Inspect(file, func(n ast.Node) bool {
			branch, ok := n.(*ast.IfStmt)
			if !ok || !calls(branch.Cond, "testing", "Short") {
				return true
			}
			for _, statement := range branch.Body.List {
				if reason, is := skipReason(statement); is && !strings.HasPrefix(reason, fullSkip) {
					breaches = append(breaches, fmt.Sprintf("a skip with -short gives %q as its reason: begin it with %q", reason, fullSkip))
				}
			}
			return true
		})
		return breaches
	})
}

// calls reports whether the expression has a call of a package's function.
func calls(in ast.Node, name, function string) (found bool) {
	ast.Inspect(in, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == function {
			x, ok := selector.X.(*ast.Ident)
			found = found || ok && x.Name == name
		}
		return true
	})
	return found
}

// skipReason returns the first text in a call of Skip, Skipf or SkipNow, and whether the
// statement is such a call.
func skipReason(statement ast.Stmt) (reason string, is bool) {
	expression, ok := statement.(*ast.ExprStmt)
	if !ok {
		return "", false
	}
	call, ok := expression.X.(*ast.CallExpr)
	if !ok {
		return "", false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !strings.HasPrefix(selector.Sel.Name, "Skip") {
		return "", false
	}
	for _, argument := range call.Args {
		ast.Inspect(argument, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING && reason == "" {
				reason, _ = strconv.Unquote(literal.Value)
			}
			return true
		})
	}
	return reason, true
}

// inTestFiles calls look for each test file, and returns what it says with the file's name before
// it.
func inTestFiles(t *Tree, look func(*ast.File) []string) (breaches []string) {
	for _, f := range t.files {
		if !isTest(f.name) {
			continue
		}
		for _, breach := range look(f.parsed) {
			breaches = append(breaches, f.name+": "+breach)
		}
	}
	return breaches
}
