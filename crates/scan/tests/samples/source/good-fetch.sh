#!/bin/sh
# images, then labels
mkdir -p data && cd data
wget -c http://images.example.org/zips/val.zip
unzip -q val.zip && rm val.zip
curl -L https://data.example.org/labels.tar.gz -o labels.tar.gz
tar -xzf labels.tar.gz
