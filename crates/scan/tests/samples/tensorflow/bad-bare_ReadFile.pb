

ReadFile