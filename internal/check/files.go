package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/findings"
)

func (e *examination) checkConfiguration(context.Context) findings.Finding {
	f := findings.Finding{Name: "configuration"}
	c, err := config.Load(e.ConfigFile)
	var invalid *config.Error
	switch {
	case errors.As(err, &invalid):
		for _, p := range invalid.Problems {
			f.Details = append(f.Details, "line "+p.String())
		}
		return f.Failed(e.ConfigFile+" is not valid", "correct it; jobgate config validate "+e.ConfigFile+" lists every problem")
	case err != nil:
		return f.Failed("cannot be read: "+err.Error(), "give --config the file that jobgate serve has")
	}
	e.config = c
	for _, p := range c.Warnings {
		f.Details = append(f.Details, "line "+p.String())
	}
	if len(f.Details) > 0 {
		return f.Warned(e.ConfigFile+" is valid, with a warning", "correct what the warnings say, or accept it")
	}
	return f.Well(fmt.Sprintf("%s is valid: %d agents, %d grants, %d restrictions",
		e.ConfigFile, len(c.Agents), len(c.Grants), len(c.Restrictions)))
}

func (e *examination) checkCertificates(context.Context) findings.Finding {
	f := findings.Finding{Name: "certificates"}
	show := "jobgate certs show --pki=" + e.PKI
	var all []certs.Inspection
	switch {
	case e.PKI != "":
		all = certs.OpenPKI(e.PKI).Inspect(0)
	case e.config != nil:
		s := e.config.Serving
		files := slices.Compact([]string{s.CertFile, s.KeyFile})
		all = certs.InspectFiles(files, "", 0)
		if s.ClientCAFile != "" {
			all = append(all, certs.InspectFiles([]string{s.ClientCAFile}, "", 0)...)
		}
		show = "jobgate certs show " + strings.Join(files, " ")
	default:
		return f.NotChecked(whyNoConfig)
	}
	for _, one := range all {
		for _, problem := range one.Problems {
			f.Details = append(f.Details, one.File+": "+problem)
		}
	}
	if len(f.Details) > 0 {
		return f.Failed("there are problems with certificates or keys", show+" shows all; issue or replace them, or correct the modes")
	}
	return f.Well(fmt.Sprintf("%d certificates are valid, and the files have safe modes", len(all)))
}
