package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/daemon"
)

func writeExplanation(w io.Writer, e *daemon.Explanation, format string) error {
	if format == "json" {
		return writeJSON(w, e)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if e.Unverified {
		fmt.Fprintln(t, "claims\tnot verified: anyone could have written them")
	}
	if e.Rejected != "" {
		fmt.Fprintf(t, "rejected\t%s\n", e.Rejected)
	}
	if e.Identity != nil {
		writeIdentity(t, e.Identity)
	}
	for _, v := range e.Verdicts {
		name := string(v.Rule)
		if v.Restriction != "" {
			name += " " + v.Restriction
		}
		fmt.Fprintf(t, "rule %s\t%s\t%s\n", name, v.Outcome, v.Reason)
	}
	switch {
	case e.Rejected != "":
		fmt.Fprintln(t, "result\tthe token is rejected (401)")
	case e.Denied:
		fmt.Fprintln(t, "result\tdenied (403)")
	default:
		fmt.Fprintln(t, "result\tno opinion: RBAC decides")
	}
	return t.Flush()
}

func writeIdentity(w io.Writer, i *daemon.Identity) {
	fmt.Fprintf(w, "user\t%s\n", i.Username)
	if i.UID != "" {
		fmt.Fprintf(w, "uid\t%s\n", i.UID)
	}
	for _, g := range i.Groups {
		fmt.Fprintf(w, "group\t%s\n", g)
	}
	for _, key := range slices.Sorted(maps.Keys(i.Extra)) {
		fmt.Fprintf(w, "extra %s\t%s\n", key, strings.Join(i.Extra[key], ", "))
	}
}

// requestOptions are a request as on kubectl's command line.
type requestOptions struct {
	verb, resource, namespace, name, path string
}

func (o *requestOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.verb, "verb", "", "the request's verb: get, list, create, update, patch, delete, ...")
	f.StringVar(&o.resource, "resource", "", "RESOURCE[.GROUP][/SUBRESOURCE], such as pods/exec or deployments.apps/scale")
	f.StringVarP(&o.namespace, "namespace", "n", "", "the request's namespace; none for a cluster-scoped one")
	f.StringVar(&o.name, "name", "", "the object's name")
	f.StringVar(&o.path, "non-resource-url", "", "a path such as /metrics, instead of a resource")
}

// attributes are the request without its user; nil where none was asked for.
func (o *requestOptions) attributes() (*authorizer.AttributesRecord, error) {
	switch {
	case *o == requestOptions{}:
		return nil, nil
	case o.verb == "":
		return nil, errors.New("--verb is missing")
	case (o.resource == "") == (o.path == ""):
		return nil, errors.New("give either --resource or --non-resource-url")
	case o.path != "":
		if o.namespace != "" || o.name != "" {
			return nil, errors.New("--non-resource-url has neither --namespace nor --name")
		}
		return &authorizer.AttributesRecord{Verb: o.verb, Path: o.path}, nil
	}
	full, subresource, _ := strings.Cut(o.resource, "/")
	resource, group, _ := strings.Cut(full, ".")
	return &authorizer.AttributesRecord{
		Verb: o.verb, Namespace: o.namespace, Name: o.name,
		APIGroup: group, Resource: resource, Subresource: subresource, ResourceRequest: true,
	}, nil
}
