package e2e_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/jobgate/jobgate/e2e/binaries"
)

// feature is something that not every supported Kubernetes has. The zero value is in all of them.
type feature struct{ since, name string }

// isThere says whether the Kubernetes under test has it.
func (f feature) isThere() bool {
	if f == (feature{}) {
		return true
	}
	return version.MustParseGeneric(site.Binaries().Kubernetes).AtLeast(version.MustParseGeneric(f.since))
}

// needs leaves a case out that the Kubernetes under test cannot run. The last line of the suite counts it.
func needs(t *testing.T, f feature) {
	t.Helper()
	if !f.isThere() {
		t.Skipf("%sneeds Kubernetes %s (%s)", binaries.LeftOut, f.since, f.name)
	}
}
