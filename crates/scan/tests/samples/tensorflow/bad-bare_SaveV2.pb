

SaveV2